// Batch normalization of [rows, channels] with residual and ReLU.
#include "columns.h"

// Statistics [3, channels]: mean, biased and unbiased variance. Deviations from the first row are summed, which keeps
// digits where the mean is far from 0.
template <class T, class A, int V>
__device__ void moments(const T *__restrict__ x, A *statistics, A *partial, unsigned *tickets, int rows, int channels) {
    A shift[V];
    int own = own_channel<V>();
    if (own < channels)
        for (int i = 0; i < V; i++) shift[i] = wide(x[own + i]);
    sum_columns<A, V>(
        rows, channels, partial, tickets,
        [&](int row, int channel, A *sums, A *squares) {
            Pack<T, V> pack = load<V>(x + long(row) * channels + channel);
            for (int i = 0; i < V; i++) {
                A deviation = wide(pack.at[i]) - shift[i];
                sums[i] += deviation;
                squares[i] += deviation * deviation;
            }
        },
        [&](int channel, int i, A sum, A square) {
            A mean = sum / rows, variance = (square - sum * mean) / rows;
            variance = variance < 0 ? A(0) : variance; // rounding alone; NaN stays
            statistics[channel + i] = shift[i] + mean;
            statistics[channels + channel + i] = variance;
            statistics[2 * channels + channel + i] = variance * rows / (rows - 1);
        });
}
template <class T, class A>
__device__ void batch_norm_moments(const T *x, A *statistics, A *partial, unsigned *tickets, int rows, int channels,
                                   int v) {
    VECTORIZED(moments, v, x, statistics, partial, tickets, rows, channels);
}
KERNEL(batch_norm_moments,
       (const T *x, A *statistics, A *partial, unsigned *tickets, int rows, int channels, int v),
       (x, statistics, partial, tickets, rows, channels, v))

// What stands behind a ReLU: nothing, its output, or its input scale · x + shift, which is computed again
enum Mask { NONE, OUTPUT, INPUT };

// Scale and shift of V channels
template <class A, int V> struct Affine {
    A scale[V], shift[V];
    __device__ Affine(const A *mean, const A *variance, const A *weight, const A *bias, A eps, int channel) {
        for (int i = 0; i < V; i++) {
            scale[i] = weight[channel + i] * rsqrt(variance[channel + i] + eps);
            shift[i] = bias[channel + i] - scale[i] * mean[channel + i];
        }
    }
};

// The gradient behind a ReLU: 0 where its output is
template <class T, class A, int V>
__device__ __forceinline__ A passed(A gradient, int mask, const Affine<A, V> &affine, int i, A x, T y) {
    if (mask == OUTPUT && wide(y) <= 0) return 0;
    if (mask == INPUT && x * affine.scale[i] + affine.shift[i] <= 0) return 0;
    return gradient;
}

// y = relu(scale · x + shift + residual), the last two if asked
template <class T, class A, int V>
__device__ void apply(const T *__restrict__ x, T *__restrict__ y, const A *mean, const A *variance, const A *weight,
                      const A *bias, const T *__restrict__ residual, int relu, A eps, int rows, int channels) {
    int channel = own_channel<V>();
    if (channel >= channels) return;
    Affine<A, V> affine(mean, variance, weight, bias, eps, channel);
    for (int row = first_row(); row < rows; row += row_stride()) {
        long at = long(row) * channels + channel;
        Pack<T, V> pack = load<V>(x + at), added, result;
        if (residual) added = load<V>(residual + at);
        for (int i = 0; i < V; i++) {
            A value = wide(pack.at[i]) * affine.scale[i] + affine.shift[i];
            if (residual) value += wide(added.at[i]);
            if (relu && value < 0) value = 0; // NaN stays
            store(result.at[i], value);
        }
        store<V>(y + at, result);
    }
}
template <class T, class A>
__device__ void batch_norm_apply(const T *x, T *y, const A *mean, const A *variance, const A *weight, const A *bias,
                                 const T *residual, int relu, double eps, int rows, int channels, int v) {
    VECTORIZED(apply, v, x, y, mean, variance, weight, bias, residual, relu, A(eps), rows, channels);
}
KERNEL(batch_norm_apply,
       (const T *x, T *y, const A *mean, const A *variance, const A *weight, const A *bias, const T *residual, int relu,
        double eps, int rows, int channels, int v),
       (x, y, mean, variance, weight, bias, residual, relu, eps, rows, channels, v))

// Gradients [2, channels] of weight and bias: Σ g x̂ and Σ g
template <class T, class A, int V>
__device__ void parameter_sums(const T *__restrict__ x, const T *__restrict__ gy, const T *__restrict__ y, int mask,
                               const A *mean, const A *variance, const A *weight, const A *bias, A *gradients,
                               A *partial, unsigned *tickets, A eps, int rows, int channels) {
    A center[V], inverse[V];
    int own = own_channel<V>();
    Affine<A, V> affine(mean, variance, weight, bias, eps, own < channels ? own : 0);
    if (own < channels)
        for (int i = 0; i < V; i++) {
            center[i] = mean[own + i];
            inverse[i] = rsqrt(variance[own + i] + eps);
        }
    sum_columns<A, V>(
        rows, channels, partial, tickets,
        [&](int row, int channel, A *of_weight, A *of_bias) {
            long at = long(row) * channels + channel;
            Pack<T, V> input = load<V>(x + at), output, gradient = load<V>(gy + at);
            if (mask == OUTPUT) output = load<V>(y + at);
            for (int i = 0; i < V; i++) {
                A value = wide(input.at[i]);
                A g = passed<T, A, V>(wide(gradient.at[i]), mask, affine, i, value, output.at[i]);
                of_weight[i] += g * ((value - center[i]) * inverse[i]);
                of_bias[i] += g;
            }
        },
        [&](int channel, int i, A of_weight, A of_bias) {
            gradients[channel + i] = of_weight;
            gradients[channels + channel + i] = of_bias;
        });
}
template <class T, class A>
__device__ void batch_norm_sums(const T *x, const T *gy, const T *y, int mask, const A *mean, const A *variance,
                                const A *weight, const A *bias, A *gradients, A *partial, unsigned *tickets, double eps,
                                int rows, int channels, int v) {
    VECTORIZED(parameter_sums, v, x, gy, y, mask, mean, variance, weight, bias, gradients, partial, tickets, A(eps),
               rows, channels);
}
KERNEL(batch_norm_sums,
       (const T *x, const T *gy, const T *y, int mask, const A *mean, const A *variance, const A *weight,
        const A *bias, A *gradients, A *partial, unsigned *tickets, double eps, int rows, int channels, int v),
       (x, gy, y, mask, mean, variance, weight, bias, gradients, partial, tickets, eps, rows, channels, v))

// gx = weight / std · (g − Σ g / m − x̂ Σ g x̂ / m), without the sums if the statistics are given; and g itself, the
// gradient of a residual
template <class T, class A, int V>
__device__ void input_gradient(const T *__restrict__ x, const T *__restrict__ gy, const T *__restrict__ y, int mask,
                               const A *mean, const A *variance, const A *weight, const A *bias, const A *gradients,
                               T *__restrict__ gx, T *__restrict__ g_residual, int own, A eps, int rows, int channels) {
    int channel = own_channel<V>();
    if (channel >= channels) return;
    A a[V], b[V], c[V];
    Affine<A, V> affine(mean, variance, weight, bias, eps, channel);
    for (int i = 0; i < V; i++) {
        A inverse = rsqrt(variance[channel + i] + eps);
        a[i] = weight[channel + i] * inverse;
        b[i] = own ? -a[i] * inverse * gradients[channel + i] / rows : A(0);
        c[i] = own ? -a[i] * gradients[channels + channel + i] / rows - b[i] * mean[channel + i] : A(0);
    }
    for (int row = first_row(); row < rows; row += row_stride()) {
        long at = long(row) * channels + channel;
        Pack<T, V> input = load<V>(x + at), output, gradient = load<V>(gy + at), result, masked;
        if (mask == OUTPUT) output = load<V>(y + at);
        for (int i = 0; i < V; i++) {
            A value = wide(input.at[i]);
            A g = passed<T, A, V>(wide(gradient.at[i]), mask, affine, i, value, output.at[i]);
            store(masked.at[i], g);
            store(result.at[i], a[i] * g + b[i] * value + c[i]);
        }
        store<V>(gx + at, result);
        if (g_residual) store<V>(g_residual + at, masked);
    }
}
template <class T, class A>
__device__ void batch_norm_gradient(const T *x, const T *gy, const T *y, int mask, const A *mean, const A *variance,
                                    const A *weight, const A *bias, const A *gradients, T *gx, T *g_residual, int own,
                                    double eps, int rows, int channels, int v) {
    VECTORIZED(input_gradient, v, x, gy, y, mask, mean, variance, weight, bias, gradients, gx, g_residual, own, A(eps),
               rows, channels);
}
KERNEL(batch_norm_gradient,
       (const T *x, const T *gy, const T *y, int mask, const A *mean, const A *variance, const A *weight,
        const A *bias, const A *gradients, T *gx, T *g_residual, int own, double eps, int rows, int channels, int v),
       (x, gy, y, mask, mean, variance, weight, bias, gradients, gx, g_residual, own, eps, rows, channels, v))
