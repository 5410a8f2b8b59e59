# shellcheck shell=bash
# Sourced by check_cuda.sh and device.sh: CUDA's compiler and headers from PyPI, for a machine without a GPU.

# cuda_toolkit FOLDER: fetches what candle's build scripts need, once, and points them to it
cuda_toolkit() {
    local folder=$1
    local packages=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88
        nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85)
    mkdir -p "$folder"
    if [ ! -x "$folder/site/nvidia/cu13/bin/nvcc" ]; then
        python3 -m pip download --quiet --no-deps -d "$folder/wheels" "${packages[@]}"
        python3 -m pip install --quiet --no-deps --target "$folder/site" "$folder"/wheels/*.whl
    fi
    export CUDA_HOME="$folder/site/nvidia/cu13"
    export CUDA_PATH="$CUDA_HOME" PATH="$CUDA_HOME/bin:$PATH" CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-80}"
    ln -sfn lib "$CUDA_HOME/lib64"
}

# cuda_stubs FOLDER: libraries to link with that have the names of NVIDIA's and fail when called; a program linked with
# them loads the real ones where it runs. The names of functions are those that cudarc may call.
cuda_stubs() {
    local folder=$1 bindings library name module version
    bindings=$(cargo metadata --offline --locked --format-version 1 --features cuda |
        grep -o '"manifest_path":"[^"]*/cudarc-[^"/]*/Cargo.toml"' | head -n 1 | cut -d '"' -f 4)
    mkdir -p "$folder"
    for library in cuda:driver:1 cublas:cublas:13 cublasLt:cublaslt:13 curand:curand:10 nvrtc:nvrtc:13 cudnn:cudnn:9; do
        IFS=: read -r name module version <<<"$library"
        grep -ohP 'load::<_F>\("\K[^"]+' "${bindings%/*}/src/$module/sys/mod.rs" | sort -u |
            sed 's/.*/int &(void) { return 999; }/' >"$folder/$name.c"
        cc -shared -fPIC -w -Wl,-soname,"lib$name.so.$version" -o "$folder/lib$name.so.$version" "$folder/$name.c"
        ln -sfn "lib$name.so.$version" "$folder/lib$name.so"
    done
    ln -sfn "$CUDA_HOME/lib/libcudart.so.13" "$folder/libcudart.so.13"
    ln -sfn libcudart.so.13 "$folder/libcudart.so"
}
