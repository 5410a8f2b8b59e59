#!/usr/bin/env bash
# Fuzz targets for a while: bash tests/fuzz.sh [TARGET [SECONDS [SEED]]]
#
# TARGET is a part of names; every target without one, or with "". SECONDS are for each target.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo test --release --test fuzz -- ${1:+"$1"} --seconds "${2:-60}" --seed "${3:-$RANDOM}"
