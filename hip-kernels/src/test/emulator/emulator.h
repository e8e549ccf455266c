// What a kernel source sees of the emulator instead of HIP's built-ins. Placed before the source by hiprtc.cpp; includes
// nothing, so that kernels compile in a fraction of a second. The functions are in fibers.cpp.
#pragma once
#define EMULATOR 1
#define __HIPCC_RTC__ 1
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))

namespace emulator {

struct Index {
    unsigned x, y, z;
};

// A thread of the block that runs; see fibers.cpp.
struct Thread {
    Index index;
};

struct Block {
    Index index, threads, blocks;
};

extern Thread* thread;
extern Block block;

// The thread stops here until the others of its block, or of its wave, are here too.
void barrier(const char* file, int line);
unsigned long long exchange(unsigned long long value, int lane);
unsigned long long vote(bool condition);
// All values of the wave, by lane.
void gather(unsigned long long value, unsigned long long* all);

// Memory of a shared array, told apart by an address that only its declaration has; ends at a page that nobody may touch.
void* shared(const void* declaration, unsigned long bytes, unsigned long alignment);
[[noreturn]] void outside(const char* array, long index, unsigned long count);
int lane();

// A shared array with bounds.
template <class T> struct Shared {
    T* data;
    unsigned long count;
    const char* name;

    template <class I> T& operator[](I index) const {
        if ((unsigned long)index >= count) {
            outside(name, (long)index, count);
        }
        return data[index];
    }
};

template <class T, class Declaration> Shared<T> shared_array(unsigned long count, const char* name) {
    static const char declaration = 0;
    return Shared<T>{(T*)shared(&declaration, count * sizeof(T), alignof(T)), count, name};
}

template <unsigned long... I> struct Indices {};
template <unsigned long N, unsigned long... I> struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
template <unsigned long... I> struct MakeIndices<0, I...> {
    typedef Indices<I...> type;
};

template <class... A, unsigned long... I> void call(void (*kernel)(A...), void** arguments, Indices<I...>) {
    kernel(*(A*)arguments[I]...);
}

// A kernel as hipModuleGetFunction finds it.
struct Kernel {
    void (*run)(void** arguments);
    int most_threads;
    // Bytes of each argument, which are kept until it runs; 0 after the last.
    const unsigned long* sizes;
};

template <class... A> struct Sizes {
    static constexpr unsigned long bytes[] = {sizeof(A)..., 0};
};

template <class... A> constexpr const unsigned long* sizes(void (*)(A...)) { return Sizes<A...>::bytes; }

}  // namespace emulator

#define EMULATOR_EXPORT(kernel, threads)                                                                      \
    template <class... A> static void emulator_run_##kernel(void (*function)(A...), void** arguments) {      \
        emulator::call(function, arguments, typename emulator::MakeIndices<sizeof...(A)>::type());            \
    }                                                                                                         \
    extern "C" const emulator::Kernel emulator_kernel_##kernel = {                                            \
        [](void** arguments) { emulator_run_##kernel(&kernel, arguments); }, threads, emulator::sizes(&kernel)};

#define threadIdx (emulator::thread->index)
#define blockIdx (emulator::block.index)
#define blockDim (emulator::block.threads)
#define gridDim (emulator::block.blocks)
#define __syncthreads() emulator::barrier(__FILE__, __LINE__)

#define SHARED(type, name, count) \
    struct name##_declaration {}; \
    emulator::Shared<type> name = emulator::shared_array<type, name##_declaration>(count, #name)

static inline float __uint_as_float(unsigned bits) {
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}
static inline unsigned __float_as_uint(float value) {
    unsigned bits;
    __builtin_memcpy(&bits, &value, 4);
    return bits;
}
static inline float __int_as_float(int bits) { return __uint_as_float((unsigned)bits); }
static inline int __float_as_int(float value) { return (int)__float_as_uint(value); }

static inline float __shfl(float value, int lane, int width) {
    int mine = emulator::lane();
    int source = (mine & ~(width - 1)) | (lane & (width - 1));
    return __uint_as_float((unsigned)emulator::exchange(__float_as_uint(value), source));
}
static inline unsigned long long __ballot(int condition) { return emulator::vote(condition != 0); }

// Threads of a block take turns on one thread of the host, and so do blocks.
template <class T> static inline T atomicAdd(T* at, T value) {
    T before = *at;
    *at = before + value;
    return before;
}
template <class T> static inline T atomicMax(T* at, T value) {
    T before = *at;
    *at = before > value ? before : value;
    return before;
}

extern "C" {
float expf(float) noexcept;
float tanhf(float) noexcept;
float fabsf(float) noexcept;
float log1pf(float) noexcept;
float exp2f(float) noexcept;
float erfcf(float) noexcept;
double log(double) noexcept;
float sqrtf(float) noexcept;
float rintf(float) noexcept;
float fmaf(float, float, float) noexcept;
double fma(double, double, double) noexcept;
double sqrt(double) noexcept;
float fmaxf(float, float) noexcept;
float fminf(float, float) noexcept;
}

// The libraries of the emulator are built without F16C, kernels with it.
#ifdef __F16C__
typedef float emulator_floats __attribute__((vector_size(16)));
typedef short emulator_shorts __attribute__((vector_size(16)));
static inline float from_f16(unsigned short bits) {
    emulator_shorts halves = {(short)bits};
    return __builtin_ia32_vcvtph2ps(halves)[0];
}
static inline unsigned short to_f16(float value) {
    emulator_floats floats = {value};
    return (unsigned short)__builtin_ia32_vcvtps2ph(floats, 0)[0];
}
#endif
