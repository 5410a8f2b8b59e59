#!/usr/bin/env bash
# Run the tests of unsafe code that Miri can run: bash tests/miri.sh
#
# Miri interprets a program and stops at undefined behavior. It has no vector instructions, foreign functions or memory
# maps, and is slow, so it runs the handling of uninitialized memory and of reused buffers. The kernels that use them
# are checked by poisoned memory in their own tests (src/nn/cpu/room.rs).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "not tested: 1"
    echo "    cargo miri: it is not installed; rustup toolchain install nightly --component miri"
    exit 0
fi
export MIRIFLAGS="${MIRIFLAGS:--Zmiri-disable-isolation -Zmiri-permissive-provenance}"
exec cargo +nightly miri test --package medmerge-nn --lib -- cpu::room cpu::scratch cpu::concat
