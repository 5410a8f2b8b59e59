#!/usr/bin/env bash
# Type-checks the CUDA code on a machine without a GPU: bash tests/check_cuda.sh [FOLDER]
#
# Fetches nvcc and CUDA's headers from PyPI into FOLDER (default: ~/.cache/medmerge-cuda), which candle's build
# scripts need, and runs `cargo check` with every CUDA feature. Nothing is linked and nothing runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/medmerge-cuda}
mkdir -p "$folder"

packages=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85)
if [ ! -x "$folder/site/nvidia/cu13/bin/nvcc" ]; then
    python3 -m pip download --quiet --no-deps -d "$folder/wheels" "${packages[@]}"
    python3 -m pip install --quiet --no-deps --target "$folder/site" "$folder"/wheels/*.whl
fi
export CUDA_HOME="$folder/site/nvidia/cu13"
export CUDA_PATH="$CUDA_HOME" PATH="$CUDA_HOME/bin:$PATH" CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-80}"
ln -sfn lib "$CUDA_HOME/lib64"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$folder/target}"

for features in cuda cudnn; do
    echo "== cargo check --all-targets --features $features"
    cargo check --release --all-targets --no-default-features --features "$features"
done
echo "== the CUDA code type-checks"
