// One element at a time.
#include "columns.h"

// Packs of V elements; `n` counts packs
template <class T, class A, int V> __device__ void sum_of(T *__restrict__ sum, const T *__restrict__ more, long n) {
    for (long at = first(); at < n; at += stride()) {
        Pack<T, V> a = load<V>(sum + at * V), b = load<V>(more + at * V);
        for (int v = 0; v < V; v++) store(a.at[v], wide(a.at[v]) + wide(b.at[v]));
        store<V>(sum + at * V, a);
    }
}
template <class T, class A> __device__ void add_in_place(T *sum, const T *more, long n, int v) {
    VECTORIZED(sum_of, v, sum, more, n);
}
KERNEL(add_in_place, (T * sum, const T *more, long n, int v), (sum, more, n, v))

template <class T, class A, int V> __device__ void copy_of(const T *__restrict__ from, T *__restrict__ to, long n) {
    for (long at = first(); at < n; at += stride()) store<V>(to + at * V, load<V>(from + at * V));
}
template <class T, class A> __device__ void copy(const T *from, T *to, long n, int v) {
    VECTORIZED(copy_of, v, from, to, n);
}
KERNEL(copy, (const T *from, T *to, long n, int v), (from, to, n, v))

// x Φ(x)
template <class T, class A, int V> __device__ void gelu_of(const T *__restrict__ x, T *__restrict__ y, long n) {
    for (long at = first(); at < n; at += stride()) {
        Pack<T, V> pack = load<V>(x + at * V);
        for (int v = 0; v < V; v++) {
            A value = wide(pack.at[v]);
            store(pack.at[v], value * A(0.5) * (1 + erf(value * A(0.70710678118654752))));
        }
        store<V>(y + at * V, pack);
    }
}
template <class T, class A> __device__ void gelu(const T *x, T *y, long n, int v) { VECTORIZED(gelu_of, v, x, y, n); }
KERNEL(gelu, (const T *x, T *y, long n, int v), (x, y, n, v))

// Φ(x) + x φ(x)
template <class T, class A, int V>
__device__ void slope_of_gelu(const T *__restrict__ x, const T *__restrict__ gy, T *__restrict__ gx, long n) {
    for (long at = first(); at < n; at += stride()) {
        Pack<T, V> pack = load<V>(x + at * V), gradient = load<V>(gy + at * V);
        for (int v = 0; v < V; v++) {
            A value = wide(pack.at[v]);
            A cumulative = A(0.5) * (1 + erf(value * A(0.70710678118654752)));
            A density = A(0.39894228040143268) * exp(A(-0.5) * value * value);
            store(pack.at[v], wide(gradient.at[v]) * (cumulative + value * density));
        }
        store<V>(gx + at * V, pack);
    }
}
template <class T, class A> __device__ void gelu_gradient(const T *x, const T *gy, T *gx, long n, int v) {
    VECTORIZED(slope_of_gelu, v, x, gy, gx, n);
}
KERNEL(gelu_gradient, (const T *x, const T *gy, T *gx, long n, int v), (x, gy, gx, n, v))

// y = x + bias of each channel (+ residual)
template <class T, class A, int V>
__device__ void shifted(const T *__restrict__ x, const A *__restrict__ bias, const T *__restrict__ residual,
                        T *__restrict__ y, int rows, int channels) {
    int channel = own_channel<V>();
    if (channel >= channels) return;
    A shift[V];
    for (int v = 0; v < V; v++) shift[v] = bias[channel + v];
    for (int row = first_row(); row < rows; row += row_stride()) {
        long at = long(row) * channels + channel;
        Pack<T, V> pack = load<V>(x + at), added;
        if (residual) added = load<V>(residual + at);
        for (int v = 0; v < V; v++)
            store(pack.at[v], wide(pack.at[v]) + shift[v] + (residual ? wide(added.at[v]) : A(0)));
        store<V>(y + at, pack);
    }
}
template <class T, class A>
__device__ void add_bias(const T *x, const A *bias, const T *residual, T *y, int rows, int channels, int v) {
    VECTORIZED(shifted, v, x, bias, residual, y, rows, channels);
}
KERNEL(add_bias, (const T *x, const A *bias, const T *residual, T *y, int rows, int channels, int v),
       (x, bias, residual, y, rows, channels, v))

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

// Two matrices [rows, a] and [rows, b] side by side, and apart again. The z of a block tells which of the two it has;
// `channels` is the larger of a and b.
template <class T, class A, int V>
__device__ void copied(const T *__restrict__ from, T *__restrict__ to, int from_row, int to_row, int rows, int channels) {
    int channel = own_channel<V>();
    if (channel >= channels) return;
    for (int row = first_row(); row < rows; row += row_stride())
        store<V>(to + long(row) * to_row + channel, load<V>(from + long(row) * from_row + channel));
}
template <class T, class A>
__device__ void side_by_side(const T *left, const T *right, T *both, int a, int b, int rows, int, int v) {
    const T *part = blockIdx.z ? right : left;
    int width = blockIdx.z ? b : a, start = blockIdx.z ? a : 0;
    VECTORIZED(copied, v, part, both + start, width, a + b, rows, width);
}
KERNEL(side_by_side, (const T *left, const T *right, T *both, int a, int b, int rows, int channels, int v),
       (left, right, both, a, b, rows, channels, v))
template <class T, class A>
__device__ void apart(T *left, T *right, const T *both, int a, int b, int rows, int, int v) {
    T *part = blockIdx.z ? right : left;
    int width = blockIdx.z ? b : a, start = blockIdx.z ? a : 0;
    if (part) VECTORIZED(copied, v, both + start, part, a + b, width, rows, width);
}
KERNEL(apart, (T * left, T *right, const T *both, int a, int b, int rows, int channels, int v),
       (left, right, both, a, b, rows, channels, v))

// The class token and the patches of each image, plus the embeddings of their positions
template <class T, class A>
__device__ void embed_tokens(const A *__restrict__ class_token, const T *__restrict__ patches,
                             const A *__restrict__ positions, T *__restrict__ y, int tokens, int channels, long n) {
    for (long at = first(); at < n; at += stride()) {
        long row = at / channels, image = row / tokens;
        int token = row % tokens, c = at % channels;
        A value = token ? wide(patches[(row - image - 1) * channels + c]) : class_token[c];
        store(y[at], value + positions[long(token) * channels + c]);
    }
}
KERNEL(embed_tokens,
       (const A *class_token, const T *patches, const A *positions, T *y, int tokens, int channels, long n),
       (class_token, patches, positions, y, tokens, channels, n))

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

// Levels of red, green and blue as (level / 255 − mean) / std, in f32 as on the CPU; `n` counts pixels
struct Channels {
    float mean[3], std[3];
};
template <class T, class A>
__device__ void normalize(const unsigned char *__restrict__ levels, T *__restrict__ y, Channels channels, long n) {
    for (long at = first(); at < n; at += stride())
        for (int c = 0; c < 3; c++)
            store(y[3 * at + c], A((levels[3 * at + c] / 255.0f - channels.mean[c]) / channels.std[c]));
}
KERNEL(normalize, (const unsigned char *levels, T *y, Channels channels, long n), (levels, y, channels, n))
