// Losses, optimizers, running statistics and merged kernels. Tables of pointers travel as arguments of the launch.
#include "device.h"

// Mean softmax cross entropy of logits [n, classes] and its gradient, by one block: the loss of an image of class y is
// −Σ factors[y, k] log softmax(z)_k, the mean is over the sum of weights[y].
template <class T, class A>
__device__ void cross_entropy(const T *__restrict__ logits, const unsigned *__restrict__ labels,
                              const A *__restrict__ factors, const A *__restrict__ weights, A *loss,
                              T *__restrict__ gradient, int n, int classes) {
    SHARED(A, of_warps, THREADS / 32);
    A total = 0;
    for (int row = threadIdx.x; row < n; row += 32) total += weights[labels[row]];
    total = warp_sum(total);
    A sum = 0;
    for (int row = threadIdx.y; row < n; row += blockDim.y) {
        const T *z = logits + long(row) * classes;
        const A *factor = factors + long(labels[row]) * classes;
        A largest = -INFINITY, exponentials = 0, mass = 0, dot = 0;
        for (int k = threadIdx.x; k < classes; k += 32) {
            A value = wide(z[k]);
            largest = value > largest || value != value ? value : largest;
        }
        largest = warp_max(largest);
        for (int k = threadIdx.x; k < classes; k += 32) exponentials += exp(wide(z[k]) - largest);
        exponentials = warp_sum(exponentials);
        A log_sum = log(exponentials);
        for (int k = threadIdx.x; k < classes; k += 32) {
            mass += factor[k];
            dot += factor[k] * (wide(z[k]) - largest - log_sum);
        }
        mass = warp_sum(mass);
        sum -= warp_sum(dot);
        for (int k = threadIdx.x; k < classes; k += 32) {
            A share = exp(wide(z[k]) - largest - log_sum);
            store(gradient[long(row) * classes + k], (mass * share - factor[k]) / total);
        }
    }
    if (threadIdx.x == 0) of_warps[threadIdx.y] = sum;
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        A all = 0;
        for (unsigned warp = 0; warp < blockDim.y; warp++) all += of_warps[warp];
        loss[0] = all / total;
    }
}
KERNEL(cross_entropy,
       (const T *logits, const unsigned *labels, const A *factors, const A *weights, A *loss, T *gradient, int n,
        int classes),
       (logits, labels, factors, weights, loss, gradient, n, classes))

// A parameter with its gradient and moments; blocks before `until` and after those of the one before work on it
struct Slot {
    void *parameter;
    const void *gradient;
    void *first, *second;
    double keep, size;
    long n;
    long until;
    // of kernels [co, ci, taps] whose gradient is [co, taps, ci]; 1 otherwise
    int ci, taps;
};
#define SLOTS 320
struct Slots {
    Slot at[SLOTS];
    int count;
};
#define PER_BLOCK (THREADS * 8)

// The slot of this block, and its first element
__device__ __forceinline__ int own_slot(const Slots &slots, long &from) {
    int low = 0, high = slots.count - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (long(blockIdx.x) < slots.at[middle].until)
            high = middle;
        else
            low = middle + 1;
    }
    long before = low ? slots.at[low - 1].until : 0;
    from = (blockIdx.x - before) * PER_BLOCK + threadIdx.x;
    return low;
}

// Where the gradient of an element is
__device__ __forceinline__ long of_gradient(const Slot &slot, long at) {
    if (slot.taps == 1) return at;
    unsigned i = at, tap = i % slot.taps, rest = i / slot.taps;
    return long(rest / slot.ci * slot.taps + tap) * slot.ci + rest % slot.ci;
}

// What changes from step to step, of a slot. A captured step reads it from memory; others have it in their tables.
struct Varying {
    double keep, size, correction;
};

struct AdamCoefficients {
    double grad_scale, l2_decay, take, beta2, correction, eps;
};

template <class T, class A>
__device__ void adam(const Slots &slots, const AdamCoefficients &c, const Varying *varying) {
    long from;
    int own = own_slot(slots, from);
    const Slot &slot = slots.at[own];
    Varying now = varying ? varying[own] : Varying{slot.keep, slot.size, c.correction};
    A *p = (A *)slot.parameter, *m = (A *)slot.first, *v = (A *)slot.second;
    const A *gradient = (const A *)slot.gradient;
    A keep = now.keep, size = now.size, grad_scale = c.grad_scale, l2_decay = c.l2_decay, take = c.take;
    A beta2 = c.beta2, rest = 1 - c.beta2, correction = now.correction, eps = c.eps;
    for (int i = 0; i < PER_BLOCK / THREADS; i++) {
        long at = from + i * THREADS;
        if (at >= slot.n) return;
        A g = gradient[of_gradient(slot, at)] * grad_scale + l2_decay * p[at];
        A first = m[at] + (g - m[at]) * take, second = beta2 * v[at] + rest * g * g;
        m[at] = first;
        v[at] = second;
        p[at] = p[at] * keep - first * size / (sqrt(second) / correction + eps);
    }
}

struct SgdCoefficients {
    double grad_scale, weight_decay, momentum;
    int nesterov;
};

template <class T, class A>
__device__ void sgd(const Slots &slots, const SgdCoefficients &c, const Varying *varying) {
    long from;
    int own = own_slot(slots, from);
    const Slot &slot = slots.at[own];
    A *p = (A *)slot.parameter, *buffer = (A *)slot.first;
    const A *gradient = (const A *)slot.gradient;
    A lr = varying ? varying[own].size : slot.size, grad_scale = c.grad_scale, weight_decay = c.weight_decay, momentum = c.momentum;
    for (int i = 0; i < PER_BLOCK / THREADS; i++) {
        long at = from + i * THREADS;
        if (at >= slot.n) return;
        A g = gradient[of_gradient(slot, at)] * grad_scale + weight_decay * p[at];
        if (buffer) {
            A moved = buffer[at] * momentum + g;
            buffer[at] = moved;
            g = c.nesterov ? g + momentum * moved : moved;
        }
        p[at] -= lr * g;
    }
}

// running = keep · running + size · observed, written to `first`; an i64 counter, which has no `gradient`, gains 1
template <class T, class A> __device__ void follow(const Slots &slots) {
    long from;
    const Slot &slot = slots.at[own_slot(slots, from)];
    for (int i = 0; i < PER_BLOCK / THREADS; i++) {
        long at = from + i * THREADS;
        if (at >= slot.n) return;
        if (!slot.gradient) {
            ((long long *)slot.first)[at] = ((const long long *)slot.parameter)[at] + 1;
            continue;
        }
        A observed = ((const A *)slot.gradient)[at] * A(slot.size);
        // no `0 · running`, which may be infinite
        ((A *)slot.first)[at] = slot.keep == 0 ? observed : ((const A *)slot.parameter)[at] * A(slot.keep) + observed;
    }
}

// These work on parameters, which are f32 or f64
#define OF_PARAMETERS(name, PARAMETERS, ARGUMENTS)                                                                 \
    INSTANCE(name, f32, float, PARAMETERS, ARGUMENTS)                                                              \
    INSTANCE(name, f64, double, PARAMETERS, ARGUMENTS)
#ifdef __CUDACC__
#define BY_VALUE const __grid_constant__
#else
#define BY_VALUE const
#endif
OF_PARAMETERS(adam, (BY_VALUE Slots slots, BY_VALUE AdamCoefficients c, const Varying *varying),
              (slots, c, varying))
OF_PARAMETERS(sgd, (BY_VALUE Slots slots, BY_VALUE SgdCoefficients c, const Varying *varying), (slots, c, varying))
OF_PARAMETERS(follow, (BY_VALUE Slots slots), (slots))

// W[k] = Σ_i w[i, k] S[i, k] for weights [sources, kernels] and sources [sources, kernels, len]
template <class T, class A>
__device__ void weighted_sum(const A *__restrict__ weights, const A *__restrict__ of_sources, A *__restrict__ merged,
                             int sources, int kernels, int len) {
    long total = long(kernels) * len;
    for (long at = first(); at < total; at += stride()) {
        A sum = 0;
        for (int i = 0; i < sources; i++) sum += weights[long(i) * kernels + at / len] * of_sources[i * total + at];
        merged[at] = sum;
    }
}
OF_PARAMETERS(weighted_sum,
              (const A *weights, const A *of_sources, A *merged, int sources, int kernels, int len),
              (weights, of_sources, merged, sources, kernels, len))

// dL/dw[i, k] = ⟨dL/dW[k], S[i, k]⟩, by a warp each
template <class T, class A>
__device__ void weighted_sum_gradient(const A *__restrict__ gradient, const A *__restrict__ of_sources,
                                      A *__restrict__ of_weights, int sources, int kernels, int len) {
    for (long row = long(blockIdx.x) * blockDim.y + threadIdx.y; row < long(sources) * kernels;
         row += long(gridDim.x) * blockDim.y) {
        const A *g = gradient + row % kernels * len, *s = of_sources + row * len;
        A sum = 0;
        for (int i = threadIdx.x; i < len; i += 32) sum += g[i] * s[i];
        sum = warp_sum(sum);
        if (threadIdx.x == 0) of_weights[row] = sum;
    }
}
OF_PARAMETERS(weighted_sum_gradient,
              (const A *gradient, const A *of_sources, A *of_weights, int sources, int kernels, int len),
              (gradient, of_sources, of_weights, sources, kernels, len))
