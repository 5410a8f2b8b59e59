// One element at a time.
#include "columns.h"

template <class T, class A> __device__ void add_in_place(T *__restrict__ sum, const T *__restrict__ more, long n) {
    for (long at = first(); at < n; at += stride()) store(sum[at], wide(sum[at]) + wide(more[at]));
}
KERNEL(add_in_place, (T * sum, const T *more, long n), (sum, more, n))

// x Φ(x)
template <class T, class A> __device__ void gelu(const T *__restrict__ x, T *__restrict__ y, long n) {
    for (long at = first(); at < n; at += stride()) {
        A value = wide(x[at]);
        store(y[at], value * A(0.5) * (1 + erf(value * A(0.70710678118654752))));
    }
}
KERNEL(gelu, (const T *x, T *y, long n), (x, y, n))

// Φ(x) + x φ(x)
template <class T, class A>
__device__ void gelu_gradient(const T *__restrict__ x, const T *__restrict__ gy, T *__restrict__ gx, long n) {
    for (long at = first(); at < n; at += stride()) {
        A value = wide(x[at]);
        A cumulative = A(0.5) * (1 + erf(value * A(0.70710678118654752)));
        A density = A(0.39894228040143268) * exp(A(-0.5) * value * value);
        store(gx[at], wide(gy[at]) * (cumulative + value * density));
    }
}
KERNEL(gelu_gradient, (const T *x, const T *gy, T *gx, long n), (x, gy, gx, n))

// y = x + bias of each channel (+ residual)
template <class T, class A>
__device__ void add_bias(const T *__restrict__ x, const A *__restrict__ bias, const T *__restrict__ residual,
                         T *__restrict__ y, long n, int channels) {
    for (long at = first(); at < n; at += stride()) {
        A value = wide(x[at]) + bias[at % channels];
        if (residual) value += wide(residual[at]);
        store(y[at], value);
    }
}
KERNEL(add_bias, (const T *x, const A *bias, const T *residual, T *y, long n, int channels),
       (x, bias, residual, y, n, channels))

// Sums over rows
template <class T, class A, int V>
__device__ void sums(const T *__restrict__ x, A *result, A *partial, unsigned *tickets, int rows, int channels) {
    sum_columns<A, V>(
        rows, channels, partial, tickets,
        [&](int row, int channel, A *sum, A *) {
            Pack<T, V> pack = load<V>(x + long(row) * channels + channel);
            for (int i = 0; i < V; i++) sum[i] += wide(pack.at[i]);
        },
        [&](int channel, int i, A sum, A) { result[channel + i] = sum; });
}
template <class T, class A>
__device__ void column_sums(const T *x, A *result, A *partial, unsigned *tickets, int rows, int channels, int v) {
    VECTORIZED(sums, v, x, result, partial, tickets, rows, channels);
}
KERNEL(column_sums, (const T *x, A *result, A *partial, unsigned *tickets, int rows, int channels, int v),
       (x, result, partial, tickets, rows, channels, v))

// Convolution kernels [co, ci, taps] as [co, taps, ci], and back
template <class T, class A>
__device__ void channels_last(const A *__restrict__ from, T *__restrict__ to, int ci, int taps, long n) {
    for (long at = first(); at < n; at += stride()) {
        int c = at % ci, tap = at / ci % taps;
        store(to[at], from[(at / ci / taps * ci + c) * taps + tap]);
    }
}
KERNEL(channels_last, (const A *from, T *to, int ci, int taps, long n), (from, to, ci, taps, n))

template <class T, class A>
__device__ void channels_first(const T *__restrict__ from, A *__restrict__ to, int ci, int taps, long n) {
    for (long at = first(); at < n; at += stride()) {
        int tap = at % taps, c = at / taps % ci;
        to[at] = wide(from[(at / taps / ci * taps + tap) * ci + c]);
    }
}
KERNEL(channels_first, (const T *from, A *to, int ci, int taps, long n), (from, to, ci, taps, n))

// Channels of two images side by side, and apart again
template <class T, class A>
__device__ void concat_channels(const T *__restrict__ left, const T *__restrict__ right, T *__restrict__ both, int a,
                                int b, long n) {
    for (long at = first(); at < n; at += stride()) {
        long row = at / (a + b);
        int c = at % (a + b);
        both[at] = c < a ? left[row * a + c] : right[row * b + c - a];
    }
}
KERNEL(concat_channels, (const T *left, const T *right, T *both, int a, int b, long n), (left, right, both, a, b, n))

template <class T, class A>
__device__ void split_channels(const T *__restrict__ both, T *__restrict__ left, T *__restrict__ right, int a, int b,
                               long n) {
    for (long at = first(); at < n; at += stride()) {
        long row = at / (a + b);
        int c = at % (a + b);
        (c < a ? left[row * a + c] : right[row * b + c - a]) = both[at];
    }
}
KERNEL(split_channels, (const T *both, T *left, T *right, int a, int b, long n), (both, left, right, a, b, n))

// The first token of each image, in the type of sums, and its gradient: 0 for the other tokens
template <class T, class A>
__device__ void first_token(const T *__restrict__ x, A *__restrict__ y, int tokens, int channels, long n) {
    for (long at = first(); at < n; at += stride())
        y[at] = wide(x[at / channels * tokens * channels + at % channels]);
}
KERNEL(first_token, (const T *x, A *y, int tokens, int channels, long n), (x, y, tokens, channels, n))

template <class T, class A>
__device__ void first_token_gradient(const A *__restrict__ gy, T *__restrict__ gx, int tokens, int channels, long n) {
    for (long at = first(); at < n; at += stride()) {
        long row = at / channels;
        A gradient = row % tokens ? A(0) : gy[row / tokens * channels + at % channels];
        store(gx[at], gradient);
    }
}
KERNEL(first_token_gradient, (const A *gy, T *gx, int tokens, int channels, long n), (gy, gx, tokens, channels, n))
