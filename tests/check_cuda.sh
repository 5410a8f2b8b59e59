#!/usr/bin/env bash
# Type-checks the CUDA code on a machine without a GPU: bash tests/check_cuda.sh [FOLDER]
#
# Fetches nvcc and CUDA's headers from PyPI into FOLDER (default: ~/.cache/medmerge-cuda), which candle's build
# scripts need, and runs `cargo check` with every CUDA feature. Nothing is linked and nothing runs; device.sh does both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/cuda_toolkit.sh
. tests/cuda_toolkit.sh
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/medmerge-cuda}
cuda_toolkit "$folder"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$folder/target}"

for features in cuda cudnn; do
    echo "== cargo check --all-targets --features $features"
    cargo check --release --all-targets --no-default-features --features "$features"
done
echo "== the CUDA code type-checks"
