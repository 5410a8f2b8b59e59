// Runs kernels on a CPU, for tests: each thread of a block is a fiber, and blocks run one after the other.
//
// What it shows: wrong sums, missing barriers (several orders of threads), reads of shared memory before it was
// written (it is filled with NaN), writes beyond an array (with AddressSanitizer). What it cannot: fences, races
// between blocks, speed.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(n)
#define __restrict__ __restrict

struct dim3 {
    unsigned x, y, z;
};

static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace fibers {

enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    dim3 index;
    State state;
    uint64_t offered;
};

typedef void (*Body)(void **);

static std::vector<Fiber> threads;
static ucontext_t scheduler;
static unsigned current, block_number;
static Body body;
static void **arguments;

static void enter() {
    body(arguments);
    threads[current].state = DONE;
    swapcontext(&threads[current].context, &scheduler);
}

inline void wait_at(State barrier) {
    threads[current].state = barrier;
    swapcontext(&threads[current].context, &scheduler);
}

// Whether all threads of a range that still run wait at the barrier; if so, they go on
static bool passes(unsigned from, unsigned to, State barrier) {
    bool any = false;
    for (unsigned i = from; i < to; i++) {
        if (threads[i].state == DONE) continue;
        if (threads[i].state != barrier) return false;
        any = true;
    }
    for (unsigned i = from; i < to; i++)
        if (threads[i].state == barrier) threads[i].state = READY;
    return any;
}

static void start(unsigned i) {
    Fiber &fiber = threads[i];
    fiber.stack.resize(1 << 17);
    fiber.state = READY;
    fiber.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    makecontext(&fiber.context, enter, 0);
}

// Whether every thread of the block ended; `stride`, coprime to their number, sets their order
static bool run_block(unsigned n, unsigned stride) {
    block_number++;
    for (unsigned i = 0; i < n; i++) start(i);
    for (bool moved = true; moved;) {
        moved = false;
        for (unsigned k = 0; k < n; k++) {
            current = uint64_t(k) * stride % n;
            if (threads[current].state != READY) continue;
            threadIdx = threads[current].index;
            swapcontext(&scheduler, &threads[current].context);
            moved = true;
        }
        for (unsigned warp = 0; warp < n; warp += 32)
            moved |= passes(warp, warp + 32 < n ? warp + 32 : n, AT_WARP_BARRIER);
        moved |= passes(0, n, AT_BLOCK_BARRIER);
    }
    for (unsigned i = 0; i < n; i++)
        if (threads[i].state != DONE) return false;
    return true;
}

// The value that another thread of the warp offers
template <class T> T exchanged(T value, unsigned lane) {
    static_assert(sizeof(T) <= 8, "one word at a time");
    memcpy(&threads[current].offered, &value, sizeof(T));
    wait_at(AT_WARP_BARRIER);
    T other;
    memcpy(&other, &threads[(current & ~31u) + lane].offered, sizeof(T));
    wait_at(AT_WARP_BARRIER);
    return other;
}

static std::map<std::string, Body> &kernels() {
    static std::map<std::string, Body> all;
    return all;
}

struct Registration {
    Registration(const char *name, Body kernel) { kernels()[name] = kernel; }
};

template <class... P, size_t... I> void apply(void (*kernel)(P...), void **a, std::index_sequence<I...>) {
    kernel(*(P *)a[I]...);
}

template <class... P> void call(void (*kernel)(P...), void **a) {
    apply(kernel, a, std::index_sequence_for<P...>());
}

// Fills shared memory with NaN, once a block
struct Poison {
    unsigned of_block = 0;
    void operator()(void *memory, size_t bytes) {
        if (of_block != block_number) memset(memory, 0xFF, bytes);
        of_block = block_number;
    }
};

} // namespace fibers

#define SHARED(T, name, n)                                                                                         \
    static T name[n];                                                                                              \
    static fibers::Poison name##_poison;                                                                           \
    name##_poison((void *)name, sizeof name)

inline void __syncthreads() { fibers::wait_at(fibers::AT_BLOCK_BARRIER); }
inline void __threadfence() {}
template <class T> T __shfl_xor_sync(unsigned, T value, int mask) {
    return fibers::exchanged(value, (fibers::current & 31) ^ mask);
}
inline unsigned atomicAdd(unsigned *at, unsigned value) {
    unsigned before = *at;
    *at += value;
    return before;
}
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }

// 0: done, 1: no kernel of this name, 2: threads wait at different barriers
extern "C" int medmerge_launch_on_cpu(const char *name, void **arguments, const unsigned *grid, const unsigned *block,
                                      unsigned stride) {
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> guard(one_at_a_time);
    auto found = fibers::kernels().find(name);
    if (found == fibers::kernels().end()) return 1;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    unsigned n = block[0] * block[1] * block[2];
    fibers::body = found->second;
    fibers::arguments = arguments;
    if (fibers::threads.size() < n) fibers::threads.resize(n);
    for (unsigned b = 0; b < grid[0] * grid[1] * grid[2]; b++) {
        blockIdx = {b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1]};
        if (!fibers::run_block(n, stride)) return 2;
    }
    return 0;
}
