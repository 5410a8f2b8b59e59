// What kernels are written with, for nvcc and, in tests, for g++.
#pragma once
#ifdef __CUDACC__
#include <cuda_bf16.h>
typedef __nv_bfloat16 bf16;
#define SHARED(T, name, n) __shared__ T name[n]
#define REGISTER(name)
#else
#include "fibers.h"
// Upper half of an f32, rounded to nearest even
struct bf16 {
    uint16_t bits;
};
inline float __bfloat162float(bf16 x) {
    uint32_t wide = uint32_t(x.bits) << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}
inline bf16 __float2bfloat16(float value) {
    uint32_t wide;
    memcpy(&wide, &value, 4);
    if (value != value) return {uint16_t(wide >> 16 | 64)};
    return {uint16_t((wide + 0x7FFF + (wide >> 16 & 1)) >> 16)};
}
#define REGISTER(name)                                                                                             \
    static fibers::Registration register_##name(#name, [](void **a) { fibers::call(name, a); });
#endif

// What a type is computed in: parameters, statistics and sums have this type
template <class T> struct In {
    typedef float type;
};
template <> struct In<double> {
    typedef double type;
};

__device__ __forceinline__ float wide(float x) { return x; }
__device__ __forceinline__ double wide(double x) { return x; }
__device__ __forceinline__ float wide(bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void store(float &to, float x) { to = x; }
__device__ __forceinline__ void store(double &to, double x) { to = x; }
__device__ __forceinline__ void store(bf16 &to, float x) { to = __float2bfloat16(x); }

// Neighbors that are read and written together, 16 bytes where channels allow it
template <class T, int V> struct alignas(sizeof(T) * V) Pack {
    T at[V];
};
template <int V, class T> __device__ __forceinline__ Pack<T, V> load(const T *from) {
    return *reinterpret_cast<const Pack<T, V> *>(from);
}
template <int V, class T> __device__ __forceinline__ void store(T *to, const Pack<T, V> &pack) {
    *reinterpret_cast<Pack<T, V> *>(to) = pack;
}

#define WHOLE_WARP 0xFFFFFFFFu
template <class A> __device__ __forceinline__ A warp_sum(A value) {
    for (int mask = 16; mask > 0; mask /= 2) value += __shfl_xor_sync(WHOLE_WARP, value, mask);
    return value;
}
template <class A> __device__ __forceinline__ A warp_max(A value) {
    for (int mask = 16; mask > 0; mask /= 2) {
        A other = __shfl_xor_sync(WHOLE_WARP, value, mask);
        value = other > value || other != other ? other : value; // NaN stays
    }
    return value;
}

// Index of this thread and number of threads, of a grid in one dimension
__device__ __forceinline__ long first() { return long(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ long stride() { return long(gridDim.x) * blockDim.x; }

#define THREADS 256

// A kernel for each type: name_f32, name_bf16, name_f64 of the function template `name<T, A>`
#define INSTANCE(name, suffix, TYPE, PARAMETERS, ARGUMENTS)                                                        \
    namespace suffix {                                                                                             \
    typedef TYPE T;                                                                                                \
    typedef In<TYPE>::type A;                                                                                      \
    extern "C" __global__ void __launch_bounds__(THREADS) name##_##suffix PARAMETERS { name<T, A> ARGUMENTS; }     \
    REGISTER(name##_##suffix)                                                                                      \
    }
#define KERNEL(name, PARAMETERS, ARGUMENTS)                                                                        \
    INSTANCE(name, f32, float, PARAMETERS, ARGUMENTS)                                                              \
    INSTANCE(name, bf16_, bf16, PARAMETERS, ARGUMENTS)                                                             \
    INSTANCE(name, f64, double, PARAMETERS, ARGUMENTS)

// Calls `name<T, A, V>` with V elements at a time: as many as 16 bytes hold, or 1
#define VECTORIZED(name, v, ...)                                                                                   \
    (v == 1 ? name<T, A, 1>(__VA_ARGS__) : name<T, A, 16 / sizeof(T)>(__VA_ARGS__))
