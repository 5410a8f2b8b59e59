// Sums over the rows of [rows, channels], for each channel, in a fixed order.
//
// Threads of a block: x counts packs of V neighboring channels, y rows. Blocks: x counts tiles of channels, y slabs of
// rows. The last block of a tile adds the sums of its slabs.
#pragma once
#include "device.h"

// Channels of this thread: the first of them, or `channels` and more if it has none
template <int V> __device__ __forceinline__ int own_channel() { return (blockIdx.x * blockDim.x + threadIdx.x) * V; }
__device__ __forceinline__ int first_row() { return blockIdx.y * blockDim.y + threadIdx.y; }
__device__ __forceinline__ int row_stride() { return gridDim.y * blockDim.y; }

// Adds up the sums of the rows of threads, as a tree; the first row of threads has the result
template <class A, int N> __device__ void add_rows(A (&sums)[N]) {
    SHARED(A, shared, THREADS *N);
    A *own = shared + (threadIdx.y * blockDim.x + threadIdx.x) * N;
    for (int i = 0; i < N; i++) own[i] = sums[i];
    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half)
            for (int i = 0; i < N; i++) own[i] += own[half * blockDim.x * N + i];
    }
    __syncthreads();
    for (int i = 0; i < N; i++) sums[i] = own[i];
}

// Whether this block is the last of its tile to come here; it then sees what the others wrote
__device__ inline bool is_last_of_tile(unsigned *tickets) {
    SHARED(unsigned, last, 1);
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        last[0] = atomicAdd(&tickets[blockIdx.x], 1) == gridDim.y - 1;
        if (last[0]) tickets[blockIdx.x] = 0;
    }
    __syncthreads();
    return last[0] != 0;
}

// `term(row, channel, first, second)` adds a row of V channels to both sums; `finish(channel, i, first, second)` gets
// the sums of channel + i. `partial` has room for 2 sums of each channel and slab.
template <class A, int V, class Term, class Finish>
__device__ void sum_columns(int rows, int channels, A *partial, unsigned *tickets, Term term, Finish finish) {
    int channel = own_channel<V>();
    A sums[2 * V];
    for (int i = 0; i < 2 * V; i++) sums[i] = 0;
    if (channel < channels)
        for (int row = first_row(); row < rows; row += row_stride()) term(row, channel, sums, sums + V);
    add_rows(sums);
    if (gridDim.y > 1) {
        if (threadIdx.y == 0 && channel < channels)
            for (int i = 0; i < 2 * V; i++)
                partial[(long(blockIdx.y) * 2 + i / V) * channels + channel + i % V] = sums[i];
        if (!is_last_of_tile(tickets)) return;
        // other blocks wrote them: not from this multiprocessor's own cache
        const volatile A *all = partial;
        for (int i = 0; i < 2 * V; i++) {
            sums[i] = 0;
            if (channel < channels)
                for (unsigned slab = threadIdx.y; slab < gridDim.y; slab += blockDim.y)
                    sums[i] += all[(long(slab) * 2 + i / V) * channels + channel + i % V];
        }
        __syncthreads();
        add_rows(sums);
    }
    if (threadIdx.y == 0 && channel < channels)
        for (int i = 0; i < V; i++) finish(channel, i, sums[i], sums[V + i]);
}
