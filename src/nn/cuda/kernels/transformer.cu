// Layer normalization and attention. A warp works on a row; the rows of a block are the y of its threads.
#include "columns.h"

__device__ __forceinline__ long first_warp_row() { return long(blockIdx.x) * blockDim.y + threadIdx.y; }
__device__ __forceinline__ long warp_row_stride() { return long(gridDim.x) * blockDim.y; }

// y = x̂ · weight + bias; keeps [rows, 2]: mean and 1 / std
template <class T, class A>
__device__ void layer_norm(const T *__restrict__ x, const A *__restrict__ weight, const A *__restrict__ bias,
                           T *__restrict__ y, A *__restrict__ statistics, double eps, long rows, int channels) {
    for (long row = first_warp_row(); row < rows; row += warp_row_stride()) {
        const T *from = x + row * channels;
        A sum = 0, squares = 0;
        for (int c = threadIdx.x; c < channels; c += 32) sum += wide(from[c]);
        A mean = warp_sum(sum) / channels;
        for (int c = threadIdx.x; c < channels; c += 32) {
            A deviation = wide(from[c]) - mean;
            squares += deviation * deviation;
        }
        A inverse = rsqrt(warp_sum(squares) / channels + A(eps));
        for (int c = threadIdx.x; c < channels; c += 32)
            store(y[row * channels + c], (wide(from[c]) - mean) * inverse * weight[c] + bias[c]);
        if (threadIdx.x == 0) {
            statistics[2 * row] = mean;
            statistics[2 * row + 1] = inverse;
        }
    }
}
KERNEL(layer_norm,
       (const T *x, const A *weight, const A *bias, T *y, A *statistics, double eps, long rows, int channels),
       (x, weight, bias, y, statistics, eps, rows, channels))

// With h = g · weight: gx = (h − mean(h) − x̂ mean(h x̂)) / std
template <class T, class A>
__device__ void layer_norm_gradient(const T *__restrict__ x, const T *__restrict__ gy, const A *__restrict__ weight,
                                    const A *__restrict__ statistics, T *__restrict__ gx, long rows, int channels) {
    for (long row = first_warp_row(); row < rows; row += warp_row_stride()) {
        const T *input = x + row * channels, *gradient = gy + row * channels;
        A mean = statistics[2 * row], inverse = statistics[2 * row + 1], sum = 0, product = 0;
        for (int c = threadIdx.x; c < channels; c += 32) {
            A h = wide(gradient[c]) * weight[c];
            sum += h;
            product += h * (wide(input[c]) - mean) * inverse;
        }
        sum = warp_sum(sum) / channels;
        product = warp_sum(product) / channels;
        for (int c = threadIdx.x; c < channels; c += 32) {
            A normalized = (wide(input[c]) - mean) * inverse;
            store(gx[row * channels + c],
                  (wide(gradient[c]) * weight[c] - sum - normalized * product) * inverse);
        }
    }
}
KERNEL(layer_norm_gradient,
       (const T *x, const T *gy, const A *weight, const A *statistics, T *gx, long rows, int channels),
       (x, gy, weight, statistics, gx, rows, channels))

// Gradients [2, channels] of weight and bias
template <class T, class A, int V>
__device__ void norm_sums(const T *__restrict__ x, const T *__restrict__ gy, const A *__restrict__ statistics,
                          A *gradients, A *partial, unsigned *tickets, int rows, int channels) {
    sum_columns<A, V>(
        rows, channels, partial, tickets,
        [&](int row, int channel, A *of_weight, A *of_bias) {
            A mean = statistics[2L * row], inverse = statistics[2L * row + 1];
            Pack<T, V> input = load<V>(x + long(row) * channels + channel);
            Pack<T, V> gradient = load<V>(gy + long(row) * channels + channel);
            for (int i = 0; i < V; i++) {
                of_weight[i] += wide(gradient.at[i]) * (wide(input.at[i]) - mean) * inverse;
                of_bias[i] += wide(gradient.at[i]);
            }
        },
        [&](int channel, int i, A of_weight, A of_bias) {
            gradients[channel + i] = of_weight;
            gradients[channels + channel + i] = of_bias;
        });
}
template <class T, class A>
__device__ void layer_norm_sums(const T *x, const T *gy, const A *statistics, A *gradients, A *partial,
                                unsigned *tickets, int rows, int channels, int v) {
    VECTORIZED(norm_sums, v, x, gy, statistics, gradients, partial, tickets, rows, channels);
}
KERNEL(layer_norm_sums,
       (const T *x, const T *gy, const A *statistics, A *gradients, A *partial, unsigned *tickets, int rows,
        int channels, int v),
       (x, gy, statistics, gradients, partial, tickets, rows, channels, v))

// softmax(scale · x) of each row
template <class T, class A>
__device__ void softmax(const T *__restrict__ x, T *__restrict__ y, double scale, long rows, int columns) {
    for (long row = first_warp_row(); row < rows; row += warp_row_stride()) {
        const T *from = x + row * columns;
        A largest = -INFINITY, sum = 0;
        for (int c = threadIdx.x; c < columns; c += 32) {
            A value = wide(from[c]);
            largest = value > largest || value != value ? value : largest;
        }
        largest = warp_max(largest);
        for (int c = threadIdx.x; c < columns; c += 32) sum += exp((wide(from[c]) - largest) * A(scale));
        A share = 1 / warp_sum(sum);
        for (int c = threadIdx.x; c < columns; c += 32)
            store(y[row * columns + c], exp((wide(from[c]) - largest) * A(scale)) * share);
    }
}
KERNEL(softmax, (const T *x, T *y, double scale, long rows, int columns), (x, y, scale, rows, columns))

// gx = scale · y · (g − Σ g y)
template <class T, class A>
__device__ void softmax_gradient(const T *__restrict__ y, const T *__restrict__ gy, T *__restrict__ gx, double scale,
                                 long rows, int columns) {
    for (long row = first_warp_row(); row < rows; row += warp_row_stride()) {
        const T *output = y + row * columns, *gradient = gy + row * columns;
        A sum = 0;
        for (int c = threadIdx.x; c < columns; c += 32) sum += wide(output[c]) * wide(gradient[c]);
        sum = warp_sum(sum);
        for (int c = threadIdx.x; c < columns; c += 32)
            store(gx[row * columns + c], A(scale) * wide(output[c]) * (wide(gradient[c]) - sum));
    }
}
KERNEL(softmax_gradient, (const T *y, const T *gy, T *gx, double scale, long rows, int columns),
       (y, gy, gx, scale, rows, columns))

struct Heads {
    int n, tokens, parts, heads, size;
};

// Two digits of a number, the lower one of base `base`
__device__ __forceinline__ unsigned digit(unsigned &rest, unsigned base) {
    unsigned before = rest;
    rest /= base;
    return before - rest * base;
}

// [n, tokens, parts, heads, size] as [parts, n, heads, tokens, size], and back; a thread has V elements of a head
template <class T, class A, int V>
__device__ void split(const T *__restrict__ from, T *__restrict__ to, const Heads &s) {
    unsigned packs = s.size / V, total = unsigned(s.n) * s.tokens * s.parts * s.heads * packs;
    for (unsigned at = first(); at < total; at += stride()) {
        unsigned rest = at, i = digit(rest, packs), token = digit(rest, s.tokens), head = digit(rest, s.heads);
        unsigned n = digit(rest, s.n), row = ((n * s.tokens + token) * s.parts + rest) * s.heads + head;
        store<V>(to + long(at) * V, load<V>(from + long(row) * s.size + i * V));
    }
}
template <class T, class A> __device__ void split_heads(const T *from, T *to, const Heads &s, int v) {
    VECTORIZED(split, v, from, to, s);
}
KERNEL(split_heads, (const T *from, T *to, Heads s, int v), (from, to, s, v))

template <class T, class A, int V>
__device__ void join(const T *__restrict__ from, T *__restrict__ to, const Heads &s) {
    unsigned packs = s.size / V, total = unsigned(s.n) * s.tokens * s.parts * s.heads * packs;
    for (unsigned at = first(); at < total; at += stride()) {
        unsigned rest = at, i = digit(rest, packs), head = digit(rest, s.heads), part = digit(rest, s.parts);
        unsigned token = digit(rest, s.tokens), row = ((part * s.n + rest) * s.heads + head) * s.tokens + token;
        store<V>(to + long(at) * V, load<V>(from + long(row) * s.size + i * V));
    }
}
template <class T, class A> __device__ void join_heads(const T *from, T *to, const Heads &s, int v) {
    VECTORIZED(join, v, from, to, s);
}
KERNEL(join_heads, (const T *from, T *to, Heads s, int v), (from, to, s, v))
