// Pools over the pixels of [n, h, w, channels].
#include "device.h"

struct Window {
    int n, h, w, channels, kernel, stride, padding, oh, ow;
};

// The largest of each window, and which of its pixels that is: the first of equals; NaN counts as largest
template <class T, class A>
__device__ void max_pool(const T *__restrict__ x, T *__restrict__ y, unsigned char *__restrict__ taken, Window s) {
    long total = long(s.n) * s.oh * s.ow * s.channels;
    for (long at = first(); at < total; at += stride()) {
        int c = at % s.channels, pixel = at / s.channels;
        int ox = pixel % s.ow, oy = pixel / s.ow % s.oh, n = pixel / s.ow / s.oh;
        bool any = false;
        int best_tap = 0;
        T best = x[0];
        for (int ky = 0; ky < s.kernel; ky++)
            for (int kx = 0; kx < s.kernel; kx++) {
                int iy = oy * s.stride + ky - s.padding, ix = ox * s.stride + kx - s.padding;
                if (iy < 0 || ix < 0 || iy >= s.h || ix >= s.w) continue;
                T here = x[((long(n) * s.h + iy) * s.w + ix) * s.channels + c];
                A value = wide(here);
                if (any && !(value > wide(best) || value != value)) continue;
                any = true;
                best = here;
                best_tap = ky * s.kernel + kx;
            }
        y[at] = best;
        taken[at] = best_tap;
    }
}
KERNEL(max_pool, (const T *x, T *y, unsigned char *taken, Window s), (x, y, taken, s))

template <class T, class A>
__device__ void max_pool_gradient(const T *__restrict__ gy, const unsigned char *__restrict__ taken,
                                  T *__restrict__ gx, Window s) {
    long total = long(s.n) * s.h * s.w * s.channels;
    for (long at = first(); at < total; at += stride()) {
        int c = at % s.channels, pixel = at / s.channels;
        int ix = pixel % s.w, iy = pixel / s.w % s.h, n = pixel / s.w / s.h;
        A sum = 0;
        for (int ky = 0; ky < s.kernel; ky++)
            for (int kx = 0; kx < s.kernel; kx++) {
                int y = iy + s.padding - ky, x = ix + s.padding - kx;
                if (y < 0 || x < 0 || y % s.stride || x % s.stride) continue;
                y /= s.stride, x /= s.stride;
                if (y >= s.oh || x >= s.ow) continue;
                long from = ((long(n) * s.oh + y) * s.ow + x) * s.channels + c;
                if (taken[from] == ky * s.kernel + kx) sum += wide(gy[from]);
            }
        store(gx[at], sum);
    }
}
KERNEL(max_pool_gradient, (const T *gy, const unsigned char *taken, T *gx, Window s), (gy, taken, gx, s))

// Means over squares of side `kernel`; what is left at the lower and right border counts for nothing
template <class T, class A> __device__ void mean_pool(const T *__restrict__ x, T *__restrict__ y, Window s) {
    long total = long(s.n) * s.oh * s.ow * s.channels;
    for (long at = first(); at < total; at += stride()) {
        int c = at % s.channels, pixel = at / s.channels;
        int ox = pixel % s.ow, oy = pixel / s.ow % s.oh, n = pixel / s.ow / s.oh;
        A sum = 0;
        for (int ky = 0; ky < s.kernel; ky++)
            for (int kx = 0; kx < s.kernel; kx++)
                sum += wide(
                    x[((long(n) * s.h + oy * s.kernel + ky) * s.w + ox * s.kernel + kx) * s.channels + c]);
        store(y[at], sum / (s.kernel * s.kernel));
    }
}
KERNEL(mean_pool, (const T *x, T *y, Window s), (x, y, s))

template <class T, class A> __device__ void mean_pool_gradient(const T *__restrict__ gy, T *__restrict__ gx, Window s) {
    long total = long(s.n) * s.h * s.w * s.channels;
    for (long at = first(); at < total; at += stride()) {
        int c = at % s.channels, pixel = at / s.channels;
        int x = pixel % s.w / s.kernel, y = pixel / s.w % s.h / s.kernel, n = pixel / s.w / s.h;
        A gradient = 0;
        if (x < s.ow && y < s.oh)
            gradient = wide(gy[((long(n) * s.oh + y) * s.ow + x) * s.channels + c]) / (s.kernel * s.kernel);
        store(gx[at], gradient);
    }
}
KERNEL(mean_pool_gradient, (const T *gy, T *gx, Window s), (gy, gx, s))

// Means over all pixels: [n, pixels, channels] to [n, channels], in the type of sums
template <class T, class A>
__device__ void global_mean_pool(const T *__restrict__ x, A *__restrict__ y, int n, int pixels, int channels) {
    for (long at = first(); at < long(n) * channels; at += stride()) {
        const T *from = x + at / channels * pixels * channels + at % channels;
        A sum = 0;
        for (int pixel = 0; pixel < pixels; pixel++) sum += wide(from[long(pixel) * channels]);
        y[at] = sum / pixels;
    }
}
KERNEL(global_mean_pool, (const T *x, A *y, int n, int pixels, int channels), (x, y, n, pixels, channels))

template <class T, class A>
__device__ void global_mean_pool_gradient(const A *__restrict__ gy, T *__restrict__ gx, int n, int pixels,
                                          int channels) {
    long image = long(pixels) * channels;
    for (long at = first(); at < n * image; at += stride())
        store(gx[at], gy[at / image * channels + at % channels] / pixels);
}
KERNEL(global_mean_pool_gradient, (const A *gy, T *gx, int n, int pixels, int channels), (gy, gx, n, pixels, channels))
