// The parts of HIP, CUDA and the emulator that kernels need, under common names. Includes no system header when compiled at run
// time: hiprtc and NVRTC have the built-ins and lack most of the standard types.
//
// Compile with -DGPU_WAVE=<wave width of the device> and with contraction off (-ffp-contract=off, --fmad=false): a fused
// multiply-add is written as fmaf, so that every device rounds alike.
#ifndef OPTGPTQ_PORTABILITY_H
#define OPTGPTQ_PORTABILITY_H

#ifndef GPU_WAVE
#error "pass -DGPU_WAVE=, the wave width that the device reports"
#endif

#if !defined(__CUDACC__) && !defined(__HIPCC_RTC__)
#include <hip/hip_runtime.h>
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define DEVICE static __device__ __forceinline__

// A kernel's head: KERNEL(256) name(...) is a kernel of at most 256 threads. KERNEL_BESIDE(256, 4) also says how many blocks are
// to run beside each other on a multiprocessor, which bounds the registers of a thread: for kernels that CUDA's compiler would give
// fewer, and spill. The second argument of the launch bounds means waves in HIP and blocks in CUDA.
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#if defined(__CUDACC__)
#define KERNEL_BESIDE(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)
#else
#define KERNEL_BESIDE(threads, blocks) KERNEL(threads)
#endif

// count elements shared by a block, aligned to 16 bytes. The emulator has its own, with bounds.
#ifndef SHARED
#define SHARED(type, name, count) alignas(16) __shared__ type name[count]
#endif

// Four neighbours that move as one, from an address divisible by 16. Shared arrays start at one.
struct alignas(16) Four {
    float at[4];
};
DEVICE Four four(const float* from) { return *(const Four*)from; }

// Copies 16 bytes from global to shared memory, both divisible by 16, or writes zeros there. The copy is complete only after the
// thread has awaited its copies; others see it after a barrier. group_copies closes a group of those started since the one before;
// await_group waits for all groups but the NEWER last ones.
#if defined(__CUDACC__) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
DEVICE u32 shared_address(const void* pointer) {
    u32 address;
    asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }" : "=r"(address) : "l"(pointer));
    return address;
}
DEVICE void copy_16(void* shared, const void* global, bool real) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(shared_address(shared)), "l"(global), "r"(real ? 16 : 0) : "memory");
}
// The same of 16 bytes that are there, of which neighbours will be read as well.
DEVICE void copy_line(void* shared, const void* global) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" :: "r"(shared_address(shared)), "l"(global) : "memory");
}
DEVICE void await_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
DEVICE void group_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int NEWER> DEVICE void await_group() { asm volatile("cp.async.wait_group %0;" :: "n"(NEWER) : "memory"); }
#else
DEVICE void copy_16(void* shared, const void* global, bool real) {
    if (real) {
        *(Four*)shared = *(const Four*)global;
    } else {
        *(Four*)shared = Four{};
    }
}
DEVICE void copy_line(void* shared, const void* global) { copy_16(shared, global, true); }
DEVICE void await_copies() {}
DEVICE void group_copies() {}
template <int NEWER> DEVICE void await_group() {}
#endif

// Blocks that see a later atomic of this thread see what it has written before; and what another has written is read from where
// it arrived. read_fresh reads past what this multiprocessor may have kept.
#if defined(EMULATOR)
DEVICE void memory_fence() {}
#else
DEVICE void memory_fence() { __threadfence(); }
#endif
DEVICE Four read_fresh(const Four* from) {
#if defined(__CUDACC__)
    Four value;
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(value.at[0]), "=f"(value.at[1]), "=f"(value.at[2]), "=f"(value.at[3]) : "l"(from) : "memory");
    return value;
#else
    return *from;
#endif
}

// Lanes of a wave wait for each other and see what the others have written to shared memory.
#if defined(__CUDACC__)
DEVICE void wave_barrier() { __syncwarp(); }
#elif defined(EMULATOR)
DEVICE void wave_barrier() { __ballot(1); }
#else
DEVICE void wave_barrier() {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
    __builtin_amdgcn_wave_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}
#endif

// The same number in a vector register, opaque to the compiler: values derived from it (addresses, comparisons) are recomputed at
// each use and take vector registers, of which AMD GPUs have more than scalar ones. For kernels whose many arguments would make
// registers spill.
#if defined(__AMDGCN__)
DEVICE int per_thread(int value) {
    asm volatile("" : "+v"(value));
    return value;
}
#elif defined(__CUDACC__)
DEVICE int per_thread(int value) {
    asm volatile("" : "+r"(value));
    return value;
}
#else
DEVICE int per_thread(int value) { return value; }
#endif

// The value of another lane; lanes are counted in groups of width, a power of two up to 32. The whole wave takes part.
#if defined(__CUDACC__)
DEVICE float shuffle(float value, int lane, int width) { return __shfl_sync(0xffffffffu, value, lane, width); }
#else
DEVICE float shuffle(float value, int lane, int width) { return __shfl(value, lane, width); }
#endif

// The same over the whole wave.
#if defined(__CUDACC__)
DEVICE float wave_shuffle(float value, int lane) { return __shfl_sync(0xffffffffu, value, lane, GPU_WAVE); }
#else
DEVICE float wave_shuffle(float value, int lane) { return __shfl(value, lane, GPU_WAVE); }
#endif

// Bit s set when lane s of the wave has the condition; the whole wave takes part.
#if defined(__CUDACC__)
DEVICE u64 ballot(int condition) { return __ballot_sync(0xffffffffu, condition); }
#else
DEVICE u64 ballot(int condition) { return __ballot(condition); }
#endif

// One rounding each, whatever the options. HIP's own __fmul_rn is a plain multiplication that contraction may fuse.
#if defined(__CUDACC__)
DEVICE float mul(float a, float b) { return __fmul_rn(a, b); }
DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
DEVICE float sub(float a, float b) { return __fsub_rn(a, b); }
DEVICE float quotient(float a, float b) { return __fdiv_rn(a, b); }
#else
#if defined(__clang__)
#pragma clang fp contract(off)
#endif
DEVICE float mul(float a, float b) { return a * b; }
DEVICE float add(float a, float b) { return a + b; }
DEVICE float sub(float a, float b) { return a - b; }
DEVICE float quotient(float a, float b) { return a / b; }
#endif

DEVICE float infinity() { return __uint_as_float(0x7f800000u); }
DEVICE float not_a_number() { return __uint_as_float(0x7fc00000u); }
DEVICE i64 least(i64 a, i64 b) { return a < b ? a : b; }

// bfloat16 is stored as its bits: no vendor's type is the same everywhere.
DEVICE float from_bf16(u16 bits) { return __uint_as_float((u32)bits << 16); }

DEVICE u16 to_bf16(float value) {
    u32 bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (u16)((bits >> 16) | 0x40u);  // rounding could carry a NaN's payload into infinity
    }
    return (u16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// float16 likewise, converted by the instruction.
#if defined(__CUDACC__)
DEVICE float from_f16(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
DEVICE u16 to_f16(float value) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#elif !defined(EMULATOR)
DEVICE float from_f16(u16 bits) {
    union { u16 bits; _Float16 half; } both;
    both.bits = bits;
    return (float)both.half;
}
DEVICE u16 to_f16(float value) {
    union { u16 bits; _Float16 half; } both;
    both.half = (_Float16)value;
    return both.bits;
}
#endif

#endif
