// The CUDA driver and NVRTC functions that the driver layer calls, over the HIP ones: what is tested with them is that
// layer, its arguments and structures as cuda.h has them. Kernels are still compiled as the emulator's.
#include <cstddef>
#include <cstring>

extern "C" {

int hipInit(unsigned);
int hipRuntimeGetVersion(int*);
int hipGetDeviceCount(int*);
int hipSetDevice(int);
int hipDeviceGetName(char*, int, int);
int hipDeviceTotalMem(size_t*, int);
int hipDeviceGetAttribute(int*, int, int);
int hipMemGetInfo(size_t*, size_t*);
int hipMalloc(void**, size_t);
int hipFree(void*);
int hipHostMalloc(void**, size_t, unsigned);
int hipHostFree(void*);
int hipMemcpyHtoDAsync(void*, const void*, size_t, void*);
int hipMemcpyDtoHAsync(void*, const void*, size_t, void*);
int hipMemcpyDtoDAsync(void*, const void*, size_t, void*);
int hipMemcpy2DAsync(void*, size_t, const void*, size_t, size_t, size_t, int, void*);
int hipDeviceCanAccessPeer(int*, int, int);
int hipDeviceEnablePeerAccess(int, unsigned);
int hipMemcpyPeerAsync(void*, int, const void*, int, size_t, void*);
int hipMemsetD8Async(void*, unsigned char, size_t, void*);
int hipStreamCreateWithFlags(void**, unsigned);
int hipStreamDestroy(void*);
int hipStreamSynchronize(void*);
int hipStreamWaitEvent(void*, void*, unsigned);
int hipEventCreateWithFlags(void**, unsigned);
int hipEventDestroy(void*);
int hipEventRecord(void*, void*);
int hipEventSynchronize(void*);
int hipEventElapsedTime(float*, void*, void*);
int hipModuleLoadData(void**, const void*);
int hipModuleUnload(void*);
int hipModuleGetFunction(void**, void*, const char*);
int hipModuleLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**,
                          void**);
int hipStreamBeginCapture(void*, int);
int hipStreamEndCapture(void*, void**);
int hipGraphInstantiateWithFlags(void**, void*, unsigned long long);
int hipGraphLaunch(void*, void*);
int hipGraphExecDestroy(void*);
int hipGraphDestroy(void*);
const char* hipGetErrorName(int);
const char* hipGetErrorString(int);
int hiprtcVersion(int*, int*);
int hiprtcCreateProgram(void**, const char*, const char*, int, const char**, const char**);
int hiprtcDestroyProgram(void**);
int hiprtcCompileProgram(void*, int, const char**);
int hiprtcGetProgramLogSize(void*, size_t*);
int hiprtcGetProgramLog(void*, char*);
int hiprtcGetCodeSize(void*, size_t*);
int hiprtcGetCode(void*, char*);
const char* hiprtcGetErrorString(int);

// The primary contexts: how often each was retained, and which one this thread has made current.
static int retained[16];
static thread_local int* current = nullptr;
static const int invalid_value = 1, invalid_context = 201;

// As CUDA does, refuses what needs a context in a thread that has none.
static int in_context() { return current != nullptr && *current > 0 ? 0 : invalid_context; }

int cuInit(unsigned flags) { return hipInit(flags); }
int cuDeviceGetCount(int* count) { return hipGetDeviceCount(count); }
int cuDeviceGetName(char* name, int length, int device) { return hipDeviceGetName(name, length, device); }
int cuDeviceTotalMem_v2(size_t* bytes, int device) { return hipDeviceTotalMem(bytes, device); }

int cuDriverGetVersion(int* version) {
    *version = 13000;
    return 0;
}

int cuDeviceGetAttribute(int* value, int attribute, int device) {
    switch (attribute) {
        case 1: return hipDeviceGetAttribute(value, 56, device);   // threads of a block
        case 10: return hipDeviceGetAttribute(value, 87, device);  // width of a warp
        case 16: return hipDeviceGetAttribute(value, 63, device);  // multiprocessors
        case 97: return hipDeviceGetAttribute(value, 74, device);  // shared memory of a block that asks for it
        case 75: *value = 9; return 0;                             // compute capability
        case 76: *value = 0; return 0;
        default: return invalid_value;
    }
}

int cuDevicePrimaryCtxRetain(void** context, int device) {
    retained[device]++;
    *context = &retained[device];
    return 0;
}

int cuDevicePrimaryCtxRelease_v2(int device) { return retained[device]-- > 0 ? 0 : invalid_context; }

int cuCtxSetCurrent(void* context) {
    current = (int*)context;
    return in_context() != 0 ? invalid_context : hipSetDevice((int)(current - retained));
}

int cuMemGetInfo_v2(size_t* free, size_t* total) { return in_context() ? invalid_context : hipMemGetInfo(free, total); }
int cuMemAlloc_v2(void** address, size_t bytes) { return in_context() ? invalid_context : hipMalloc(address, bytes); }
int cuMemFree_v2(void* address) { return in_context() ? invalid_context : hipFree(address); }

int cuMemHostAlloc(void** address, size_t bytes, unsigned flags) {
    return in_context() ? invalid_context : hipHostMalloc(address, bytes, flags);
}

int cuMemFreeHost(void* address) { return in_context() ? invalid_context : hipHostFree(address); }
int cuMemcpyHtoDAsync_v2(void* to, const void* from, size_t n, void* s) { return hipMemcpyHtoDAsync(to, from, n, s); }
int cuMemcpyDtoHAsync_v2(void* to, const void* from, size_t n, void* s) { return hipMemcpyDtoHAsync(to, from, n, s); }
int cuMemcpyDtoDAsync_v2(void* to, const void* from, size_t n, void* s) { return hipMemcpyDtoDAsync(to, from, n, s); }
int cuMemsetD8Async(void* to, unsigned char value, size_t n, void* s) { return hipMemsetD8Async(to, value, n, s); }

int cuStreamBeginCapture_v2(void* stream, int mode) { return hipStreamBeginCapture(stream, mode); }
int cuStreamEndCapture(void* stream, void** graph) { return hipStreamEndCapture(stream, graph); }

int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long flags) {
    return hipGraphInstantiateWithFlags(executable, graph, flags);
}

int cuGraphLaunch(void* executable, void* stream) { return hipGraphLaunch(executable, stream); }
int cuGraphExecDestroy(void* executable) { return hipGraphExecDestroy(executable); }
int cuGraphDestroy(void* graph) { return hipGraphDestroy(graph); }

int cuDeviceCanAccessPeer(int* can, int device, int peer) { return hipDeviceCanAccessPeer(can, device, peer); }

int cuCtxEnablePeerAccess(void* peer, unsigned flags) {
    return in_context() ? invalid_context : hipDeviceEnablePeerAccess((int)((int*)peer - retained), flags);
}

int cuMemcpyPeerAsync(void* to, void* target, const void* from, void* source, size_t bytes, void* stream) {
    return hipMemcpyPeerAsync(to, (int)((int*)target - retained), from, (int)((int*)source - retained), bytes, stream);
}

struct Side {
    size_t x, y;
    int memory;
    void* host;
    void* device;
    void* array;
    size_t pitch;
};

struct Copy {
    Side from, to;
    size_t width, height;
};

int cuMemcpy2DAsync_v2(const Copy* copy, void* stream) {
    const int host = 1, device = 2;
    const Side& from = copy->from;
    const Side& to = copy->to;
    if (from.x || from.y || to.x || to.y || from.array || to.array) {
        return invalid_value;
    }
    if (from.memory == host && to.memory == device) {
        return hipMemcpy2DAsync(to.device, to.pitch, from.host, from.pitch, copy->width, copy->height, 1, stream);
    }
    if (from.memory == device && to.memory == host) {
        return hipMemcpy2DAsync(to.host, to.pitch, from.device, from.pitch, copy->width, copy->height, 2, stream);
    }
    return invalid_value;
}

int cuStreamCreate(void** s, unsigned flags) { return in_context() ? invalid_context : hipStreamCreateWithFlags(s, flags); }
int cuStreamDestroy_v2(void* stream) { return hipStreamDestroy(stream); }
int cuStreamSynchronize(void* stream) { return in_context() ? invalid_context : hipStreamSynchronize(stream); }
int cuStreamWaitEvent(void* stream, void* event, unsigned flags) { return hipStreamWaitEvent(stream, event, flags); }
int cuEventCreate(void** e, unsigned flags) { return in_context() ? invalid_context : hipEventCreateWithFlags(e, flags); }
int cuEventDestroy_v2(void* event) { return hipEventDestroy(event); }
int cuEventRecord(void* event, void* stream) { return hipEventRecord(event, stream); }
int cuEventSynchronize(void* event) { return hipEventSynchronize(event); }
int cuEventElapsedTime(float* millis, void* from, void* to) { return hipEventElapsedTime(millis, from, to); }

int cuModuleLoadData(void** module, const void* image) {
    return in_context() ? invalid_context : hipModuleLoadData(module, image);
}

int cuModuleUnload(void* module) { return hipModuleUnload(module); }
int cuModuleGetFunction(void** f, void* module, const char* name) { return hipModuleGetFunction(f, module, name); }
int cuFuncSetAttribute(void*, int attribute, int) { return attribute == 8 ? 0 : invalid_value; }

int cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void* stream, void** arguments, void** extra) {
    return in_context() ? invalid_context
                        : hipModuleLaunchKernel(f, gx, gy, gz, bx, by, bz, shared, stream, arguments, extra);
}

int cuGetErrorName(int status, const char** name) {
    *name = status == invalid_context ? "CUDA_ERROR_INVALID_CONTEXT" : hipGetErrorName(status);
    return 0;
}

int cuGetErrorString(int status, const char** text) {
    *text = status == invalid_context ? "invalid device context" : hipGetErrorString(status);
    return 0;
}

int nvrtcVersion(int* major, int* minor) { return hiprtcVersion(major, minor); }

int nvrtcCreateProgram(void** program, const char* source, const char* name, int count, const char** headers,
                       const char** names) {
    return hiprtcCreateProgram(program, source, name, count, headers, names);
}

int nvrtcDestroyProgram(void** program) { return hiprtcDestroyProgram(program); }

int nvrtcCompileProgram(void* program, int count, const char** options) {
    for (int i = 0; i < count; i++) {
        if (strcmp(options[i], "--gpu-architecture=sm_90") == 0) {
            return hiprtcCompileProgram(program, count, options);
        }
    }
    return 6;
}

int nvrtcGetProgramLogSize(void* program, size_t* bytes) { return hiprtcGetProgramLogSize(program, bytes); }
int nvrtcGetProgramLog(void* program, char* log) { return hiprtcGetProgramLog(program, log); }
int nvrtcGetCUBINSize(void* program, size_t* bytes) { return hiprtcGetCodeSize(program, bytes); }
int nvrtcGetCUBIN(void* program, char* code) { return hiprtcGetCode(program, code); }
const char* nvrtcGetErrorString(int status) { return hiprtcGetErrorString(status); }

}  // extern "C"
