// Pools over the pixels of [n, h, w, channels], and patches of images. A thread has a pack of V channels of a pixel.
#include "columns.h"

// A window that slides over images; `dilation` lies between its pixels
struct Window {
    int n, h, w, channels, kernel_h, kernel_w, stride, padding, dilation, oh, ow;
};

// A pack of channels of a pixel of [n, h, w, channels]
struct Place {
    int channel, x, y, n;
    bool exists;
};
template <int V> __device__ __forceinline__ Place place(unsigned at, int n, int h, int w, int channels) {
    unsigned packs = channels / V, pixel = at / packs;
    unsigned row = pixel / w, image = row / h;
    return {int(at - pixel * packs) * V, int(pixel - row * w), int(row - image * h), int(image), image < unsigned(n)};
}
__device__ __forceinline__ long offset(const Window &s, int n, int y, int x, int channel) {
    return ((long(n) * s.h + y) * s.w + x) * s.channels + channel;
}
__device__ __forceinline__ long offset_of_result(const Window &s, int n, int y, int x, int channel) {
    return ((long(n) * s.oh + y) * s.ow + x) * s.channels + channel;
}
// The pixel under a tap, for the window at `o`; or the window whose tap lies on pixel `i`, -1 if there is none
__device__ __forceinline__ int under(const Window &s, int o, int tap) { return o * s.stride + tap * s.dilation - s.padding; }
__device__ __forceinline__ int over(const Window &s, int i, int tap, int results) {
    int start = i + s.padding - tap * s.dilation;
    if (start < 0 || start % s.stride) return -1;
    return start / s.stride < results ? start / s.stride : -1;
}

// The largest of each window, and which of its pixels that is: the first of equals; NaN counts as largest
template <class T, class A, int V>
__device__ void largest(const T *__restrict__ x, T *__restrict__ y, unsigned char *__restrict__ taken, const Window &s) {
    for (unsigned i = first();; i += stride()) {
        Place at = place<V>(i, s.n, s.oh, s.ow, s.channels);
        if (!at.exists) return;
        Pack<T, V> best;
        Pack<unsigned char, V> taps;
        for (int v = 0; v < V; v++) {
            store(best.at[v], A(0));
            taps.at[v] = 0;
        }
        bool any = false;
        for (int ky = 0; ky < s.kernel_h; ky++) {
            int iy = under(s, at.y, ky);
            if (iy < 0 || iy >= s.h) continue;
            for (int kx = 0; kx < s.kernel_w; kx++) {
                int ix = under(s, at.x, kx);
                if (ix < 0 || ix >= s.w) continue;
                Pack<T, V> here = load<V>(x + offset(s, at.n, iy, ix, at.channel));
                for (int v = 0; v < V; v++) {
                    A value = wide(here.at[v]);
                    if (any && !(value > wide(best.at[v]) || value != value)) continue;
                    best.at[v] = here.at[v];
                    taps.at[v] = ky * s.kernel_w + kx;
                }
                any = true;
            }
        }
        long to = offset_of_result(s, at.n, at.y, at.x, at.channel);
        store<V>(y + to, best);
        store<V>(taken + to, taps);
    }
}
template <class T, class A>
__device__ void max_pool(const T *x, T *y, unsigned char *taken, const Window &s, int v) {
    VECTORIZED(largest, v, x, y, taken, s);
}
KERNEL(max_pool, (const T *x, T *y, unsigned char *taken, Window s, int v), (x, y, taken, s, v))

// For each pack of pixels the sum over the windows and taps that cover it: `add(window, tap, channel, sum)` adds what
// the window, by its number, has for it
template <class T, class A, int V, class Add> __device__ void gather(T *__restrict__ x, const Window &s, Add add) {
    for (unsigned i = first();; i += stride()) {
        Place at = place<V>(i, s.n, s.h, s.w, s.channels);
        if (!at.exists) return;
        A sum[V];
        for (int v = 0; v < V; v++) sum[v] = 0;
        for (int ky = 0; ky < s.kernel_h; ky++) {
            int oy = over(s, at.y, ky, s.oh);
            if (oy < 0) continue;
            for (int kx = 0; kx < s.kernel_w; kx++) {
                int ox = over(s, at.x, kx, s.ow);
                if (ox < 0) continue;
                add((long(at.n) * s.oh + oy) * s.ow + ox, ky * s.kernel_w + kx, at.channel, sum);
            }
        }
        Pack<T, V> result;
        for (int v = 0; v < V; v++) store(result.at[v], sum[v]);
        store<V>(x + offset(s, at.n, at.y, at.x, at.channel), result);
    }
}

template <class T, class A, int V>
__device__ void to_largest(const T *__restrict__ gy, const unsigned char *__restrict__ taken, T *__restrict__ gx,
                           const Window &s) {
    gather<T, A, V>(gx, s, [&](long window, int tap, int channel, A *sum) {
        long from = window * s.channels + channel;
        Pack<unsigned char, V> taps = load<V>(taken + from);
        Pack<T, V> gradient = load<V>(gy + from);
        for (int v = 0; v < V; v++)
            if (taps.at[v] == tap) sum[v] += wide(gradient.at[v]);
    });
}
template <class T, class A>
__device__ void max_pool_gradient(const T *gy, const unsigned char *taken, T *gx, const Window &s, int v) {
    VECTORIZED(to_largest, v, gy, taken, gx, s);
}
KERNEL(max_pool_gradient, (const T *gy, const unsigned char *taken, T *gx, Window s, int v), (gy, taken, gx, s, v))

// Means of windows without padding
template <class T, class A, int V>
__device__ void means(const T *__restrict__ x, T *__restrict__ y, const Window &s) {
    for (unsigned i = first();; i += stride()) {
        Place at = place<V>(i, s.n, s.oh, s.ow, s.channels);
        if (!at.exists) return;
        A sum[V];
        for (int v = 0; v < V; v++) sum[v] = 0;
        for (int ky = 0; ky < s.kernel_h; ky++)
            for (int kx = 0; kx < s.kernel_w; kx++) {
                Pack<T, V> here = load<V>(x + offset(s, at.n, under(s, at.y, ky), under(s, at.x, kx), at.channel));
                for (int v = 0; v < V; v++) sum[v] += wide(here.at[v]);
            }
        Pack<T, V> result;
        for (int v = 0; v < V; v++) store(result.at[v], sum[v] / (s.kernel_h * s.kernel_w));
        store<V>(y + offset_of_result(s, at.n, at.y, at.x, at.channel), result);
    }
}
template <class T, class A> __device__ void mean_pool(const T *x, T *y, const Window &s, int v) {
    VECTORIZED(means, v, x, y, s);
}
KERNEL(mean_pool, (const T *x, T *y, Window s, int v), (x, y, s, v))

// Their gradient: 0 for pixels under no window
template <class T, class A, int V>
__device__ void to_means(const T *__restrict__ gy, T *__restrict__ gx, const Window &s) {
    for (unsigned i = first();; i += stride()) {
        Place at = place<V>(i, s.n, s.h, s.w, s.channels);
        if (!at.exists) return;
        int x = at.x / s.kernel_w, y = at.y / s.kernel_h;
        Pack<T, V> gradient, result;
        bool inside = x < s.ow && y < s.oh;
        if (inside) gradient = load<V>(gy + offset_of_result(s, at.n, y, x, at.channel));
        for (int v = 0; v < V; v++)
            store(result.at[v], inside ? wide(gradient.at[v]) / (s.kernel_h * s.kernel_w) : A(0));
        store<V>(gx + offset(s, at.n, at.y, at.x, at.channel), result);
    }
}
template <class T, class A> __device__ void mean_pool_gradient(const T *gy, T *gx, const Window &s, int v) {
    VECTORIZED(to_means, v, gy, gx, s);
}
KERNEL(mean_pool_gradient, (const T *gy, T *gx, Window s, int v), (gy, gx, s, v))

// Pixels under each window: [n, oh, ow, kernel_h · kernel_w, channels]
template <class T, class A, int V>
__device__ void pixels(const T *__restrict__ x, T *__restrict__ patches, const Window &s) {
    int taps = s.kernel_h * s.kernel_w;
    for (unsigned i = first();; i += stride()) {
        // a pack of a tap, as a pixel of an image that is `taps` times as wide
        Place at = place<V>(i, s.n, s.oh, s.ow * taps, s.channels);
        if (!at.exists) return;
        int o = at.x / taps, tap = at.x - o * taps;
        int iy = under(s, at.y, tap / s.kernel_w), ix = under(s, o, tap % s.kernel_w);
        Pack<T, V> here;
        if (iy >= 0 && ix >= 0 && iy < s.h && ix < s.w)
            here = load<V>(x + offset(s, at.n, iy, ix, at.channel));
        else
            for (int v = 0; v < V; v++) store(here.at[v], A(0));
        store<V>(patches + (offset_of_result(s, at.n, at.y, o, 0) * taps + long(tap) * s.channels + at.channel), here);
    }
}
template <class T, class A> __device__ void to_patches(const T *x, T *patches, const Window &s, int v) {
    VECTORIZED(pixels, v, x, patches, s);
}
KERNEL(to_patches, (const T *x, T *patches, Window s, int v), (x, patches, s, v))

// Sums of what patches have for each pixel
template <class T, class A, int V>
__device__ void sums_of_pixels(const T *__restrict__ patches, T *__restrict__ x, const Window &s) {
    gather<T, A, V>(x, s, [&](long window, int tap, int channel, A *sum) {
        long row = window * s.kernel_h * s.kernel_w + tap;
        Pack<T, V> here = load<V>(patches + row * s.channels + channel);
        for (int v = 0; v < V; v++) sum[v] += wide(here.at[v]);
    });
}
template <class T, class A> __device__ void from_patches(const T *patches, T *x, const Window &s, int v) {
    VECTORIZED(sums_of_pixels, v, patches, x, s);
}
KERNEL(from_patches, (const T *patches, T *x, Window s, int v), (patches, x, s, v))

// Means over all pixels: [n, pixels, channels] to [n, channels], in the type of sums
template <class T, class A>
__device__ void global_mean_pool(const T *__restrict__ x, A *__restrict__ y, int n, int pixels, int channels) {
    for (unsigned at = first(); at < unsigned(n) * channels; at += stride()) {
        const T *from = x + long(at / channels) * pixels * channels + at % channels;
        A sum = 0;
        for (int pixel = 0; pixel < pixels; pixel++) sum += wide(from[long(pixel) * channels]);
        y[at] = sum / pixels;
    }
}
KERNEL(global_mean_pool, (const T *x, A *y, int n, int pixels, int channels), (x, y, n, pixels, channels))

// Rows are pixels; `each` gives the threads
template <class T, class A, int V>
__device__ void to_all(const A *__restrict__ gy, T *__restrict__ gx, int pixels, int rows, int channels) {
    int channel = own_channel<V>();
    if (channel >= channels) return;
    for (int row = first_row(); row < rows; row += row_stride()) {
        Pack<T, V> result;
        const A *from = gy + long(row / pixels) * channels + channel;
        for (int v = 0; v < V; v++) store(result.at[v], from[v] / pixels);
        store<V>(gx + long(row) * channels + channel, result);
    }
}
template <class T, class A>
__device__ void global_mean_pool_gradient(const A *gy, T *gx, int pixels, int rows, int channels, int v) {
    VECTORIZED(to_all, v, gy, gx, pixels, rows, channels);
}
KERNEL(global_mean_pool_gradient, (const A *gy, T *gx, int pixels, int rows, int channels, int v),
       (gy, gx, pixels, rows, channels, v))
