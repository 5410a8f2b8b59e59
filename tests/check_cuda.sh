#!/usr/bin/env bash
# Compiles the kernels and type-checks the CUDA code on a machine without a GPU: bash tests/check_cuda.sh [FOLDER]
#
# Fetches nvcc and CUDA's headers from PyPI into FOLDER (default: ~/.cache/medmerge-cuda), which candle's build
# scripts need, lists what the kernels take of registers and spill, and runs `cargo check` with CUDA. Nothing is linked
# and nothing runs; device.sh does both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/cuda_toolkit.sh
. tests/cuda_toolkit.sh
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/medmerge-cuda}
cuda_toolkit "$folder"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$folder/target}"

echo "== nvcc: kernels by their number of registers"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
nvcc -std=c++17 -O3 --fatbin -Werror all-warnings -Xptxas -v -gencode arch=compute_80,code=sm_80 \
    -gencode "arch=compute_90,code=[sm_90,compute_90]" src/nn/cuda/kernels/all.cu -o /dev/null 2>"$log" || { cat "$log"; exit 1; }
grep -oE 'Used [0-9]+ registers' "$log" | sort -k 2 -n | uniq -c
echo "== kernels that spill registers: $(grep 'spill stores' "$log" | grep -vc ' 0 bytes spill stores' || true)"
echo "== cargo check --all-targets --features cuda"
cargo check --release --all-targets --features cuda
echo "== the CUDA code type-checks"
