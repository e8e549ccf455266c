// The HIP functions that the driver layer calls, with the numbers of hip_runtime_api.h. Streams are in order already:
// everything is done when a call returns. A kernel that broke a rule leaves status 719, as a real device does, and so do
// all calls after it until hipDeviceReset. Devices share no memory: what one touches must be its own.
#include <dlfcn.h>
#include <elf.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime.h"

using namespace emulator;

namespace {

enum Status {
    success = 0,
    invalid_value = 1,
    out_of_memory = 2,
    invalid_configuration = 9,
    invalid_device = 101,
    invalid_image = 200,
    not_found = 500,
    launch_failure = 719,
    not_supported = 801
};

// Sticky.
std::atomic<int> lost{success};
std::atomic<unsigned long> launches{0};
thread_local int current_device = 0;

int devices() { return (int)setting("OPT_GPTQ_EMULATOR_DEVICES", 2); }

struct Module {
    void* library;
};

struct Function {
    std::string name;
    const Kernel* kernel;
};

bool image_bytes(const void* image, size_t* bytes) {
    const Elf64_Ehdr* header = (const Elf64_Ehdr*)image;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) {
        return false;
    }
    *bytes = header->e_shoff + (size_t)header->e_shentsize * header->e_shnum;
    return true;
}

int copy_rows(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes, size_t rows, int kind) {
    const void* device = kind == 1 ? to : from;
    size_t pitch = kind == 1 ? to_pitch : from_pitch;
    if (bytes > to_pitch || bytes > from_pitch || (rows > 0 && !owned(device, (rows - 1) * pitch + bytes, current_device))) {
        return invalid_value;
    }
    for (size_t row = 0; row < rows; row++) {
        memcpy((char*)to + row * to_pitch, (const char*)from + row * from_pitch, bytes);
    }
    return success;
}

}  // namespace

extern "C" {

int hipInit(unsigned) { return success; }

int hipRuntimeGetVersion(int* version) {
    *version = 60300000;
    return success;
}

int hipDriverGetVersion(int* version) { return hipRuntimeGetVersion(version); }

int hipGetDeviceCount(int* count) {
    *count = devices();
    return success;
}

int hipSetDevice(int device) {
    if (device < 0 || device >= devices()) {
        return invalid_device;
    }
    current_device = device;
    return lost;
}

int hipGetDevice(int* device) {
    *device = current_device;
    return success;
}

int hipDeviceReset() {
    lost = success;
    return success;
}

int hipDeviceGetName(char* name, int length, int device) {
    if (device < 0 || device >= devices()) {
        return invalid_device;
    }
    snprintf(name, (size_t)length, "SIMT emulator, wave %d", GPU_WAVE);
    return success;
}

int hipDeviceTotalMem(size_t* bytes, int) {
    *bytes = total_bytes();
    return success;
}

int hipDeviceGetAttribute(int* value, int attribute, int device) {
    if (device < 0 || device >= devices()) {
        return invalid_device;
    }
    switch (attribute) {
        case 5: *value = 1000000; break;         // clock, kHz
        case 23: *value = 9; break;              // compute capability, as gfx9
        case 56: *value = most_threads; break;   // of a block
        case 61: *value = 0; break;
        case 63: *value = 2; break;              // multiprocessors
        case 74: *value = most_shared_bytes; break;
        case 87: *value = GPU_WAVE; break;
        default: return invalid_value;
    }
    return success;
}

// Only the name and the architecture are looked for in it, the latter by its text.
int hipGetDeviceProperties(void* properties, int device) {
    if (device < 0 || device >= devices()) {
        return invalid_device;
    }
    memset(properties, 0, 792);
    hipDeviceGetName((char*)properties, 256, device);
    strcpy((char*)properties + 396, GPU_WAVE == 64 ? "gfx906:sramecc+:xnack-" : "gfx1030");
    return success;
}

int hipMemGetInfo(size_t* free, size_t* total) {
    *free = free_bytes(current_device);
    *total = total_bytes();
    return lost;
}

int hipMalloc(void** address, size_t bytes) {
    if (lost != success) {
        return lost;
    }
    *address = allocate(bytes, current_device);
    return *address == nullptr ? out_of_memory : success;
}

int hipFree(void* address) { return release(address) ? lost.load() : invalid_value; }

int hipHostMalloc(void** address, size_t bytes, unsigned) {
    *address = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    return *address == nullptr ? out_of_memory : lost.load();
}

int hipHostFree(void* address) {
    free(address);
    return lost;
}

int hipMemcpyHtoDAsync(void* to, const void* from, size_t bytes, void*) {
    return lost != success ? lost.load() : copy_rows(to, bytes, from, bytes, bytes, 1, 1);
}

int hipMemcpyDtoHAsync(void* to, const void* from, size_t bytes, void*) {
    return lost != success ? lost.load() : copy_rows(to, bytes, from, bytes, bytes, 1, 2);
}

int hipMemcpyDtoDAsync(void* to, const void* from, size_t bytes, void*) {
    if (lost == success && (!owned(to, bytes, current_device) || !owned(from, bytes, current_device))) {
        return invalid_value;
    }
    if (lost == success) {
        memmove(to, from, bytes);
    }
    return lost;
}

int hipMemcpyAsync(void* to, const void* from, size_t bytes, int kind, void* stream) {
    switch (kind) {
        case 1: return hipMemcpyHtoDAsync(to, from, bytes, stream);
        case 2: return hipMemcpyDtoHAsync(to, from, bytes, stream);
        case 3: return hipMemcpyDtoDAsync(to, from, bytes, stream);
        default: return invalid_value;
    }
}

int hipMemcpy(void* to, const void* from, size_t bytes, int kind) {
    return hipMemcpyAsync(to, from, bytes, kind, nullptr);
}

int hipMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes, size_t rows,
                     int kind, void*) {
    if (lost != success) {
        return lost;
    }
    return kind == 1 || kind == 2 ? copy_rows(to, to_pitch, from, from_pitch, bytes, rows, kind) : not_supported;
}

int hipMemsetD8Async(void* to, unsigned char value, size_t bytes, void*) {
    if (lost == success && !owned(to, bytes, current_device)) {
        return invalid_value;
    }
    if (lost == success) {
        memset(to, value, bytes);
    }
    return lost;
}

int hipMemsetAsync(void* to, int value, size_t bytes, void* stream) {
    return hipMemsetD8Async(to, (unsigned char)value, bytes, stream);
}

int hipStreamCreateWithFlags(void** stream, unsigned) {
    *stream = malloc(1);
    return lost;
}

int hipStreamDestroy(void* stream) {
    free(stream);
    return lost;
}

int hipStreamSynchronize(void*) { return lost; }
int hipStreamWaitEvent(void*, void*, unsigned) { return lost; }
int hipDeviceSynchronize() { return lost; }

int hipEventCreateWithFlags(void** event, unsigned) {
    *event = calloc(1, sizeof(timespec));
    return lost;
}

int hipEventDestroy(void* event) {
    free(event);
    return lost;
}

int hipEventRecord(void* event, void*) {
    clock_gettime(CLOCK_MONOTONIC, (timespec*)event);
    return lost;
}

int hipEventSynchronize(void*) { return lost; }

int hipEventElapsedTime(float* millis, void* from, void* to) {
    const timespec* a = (const timespec*)from;
    const timespec* b = (const timespec*)to;
    *millis = (float)((double)(b->tv_sec - a->tv_sec) * 1e3 + (double)(b->tv_nsec - a->tv_nsec) / 1e6);
    return lost;
}

int hipModuleLoadData(void** module, const void* image) {
    size_t bytes = 0;
    if (lost != success || !image_bytes(image, &bytes)) {
        return lost != success ? lost.load() : invalid_image;
    }
    // A file with a name of its own: the loader takes a name that it has seen for the library that it has loaded.
    char path[] = "/tmp/opt-gptq-emulator-XXXXXX";
    int file = mkstemp(path);
    bool written = write(file, image, bytes) == (ssize_t)bytes;
    close(file);
    void* library = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    unlink(path);
    if (library == nullptr) {
        const char* why = dlerror();
        fprintf(stderr, "emulator: %s\n", why == nullptr ? "the code object could not be written" : why);
        return invalid_image;
    }
    *module = new Module{library};
    return success;
}

int hipModuleUnload(void* module) {
    dlclose(((Module*)module)->library);
    delete (Module*)module;
    return lost;
}

// Functions live as long as the process: HIP gives no way to free them.
int hipModuleGetFunction(void** function, void* module, const char* name) {
    const void* symbol = dlsym(((Module*)module)->library, (std::string("emulator_kernel_") + name).c_str());
    if (symbol == nullptr) {
        return not_found;
    }
    *function = new Function{name, (const Kernel*)symbol};
    return lost;
}

int hipModuleLaunchKernel(void* handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, void*, void** arguments, void** extra) {
    if (lost != success) {
        return lost;
    }
    const Function* function = (const Function*)handle;
    unsigned long threads = (unsigned long)bx * by * bz;
    if (extra != nullptr || arguments == nullptr || shared != 0) {
        return not_supported;  // dynamic shared memory has no bounds to check
    }
    if (gx == 0 || gy == 0 || gz == 0 || threads == 0 || threads > most_threads
        || threads > (unsigned long)function->kernel->most_threads || gy > 65535 || gz > 65535) {
        return invalid_configuration;
    }
    Launch it = {function->name, function->kernel->run, arguments, {gx, gy, gz}, {bx, by, bz}};
    if (!launch(it) || ++launches == (unsigned long)setting("OPT_GPTQ_EMULATOR_LOST_AT", 0)) {
        lost = launch_failure;
    }
    return success;  // as a card does: a later call says what became of it
}

const char* hipGetErrorName(int status) {
    switch (status) {
        case success: return "hipSuccess";
        case invalid_value: return "hipErrorInvalidValue";
        case out_of_memory: return "hipErrorOutOfMemory";
        case invalid_configuration: return "hipErrorInvalidConfiguration";
        case invalid_device: return "hipErrorInvalidDevice";
        case invalid_image: return "hipErrorInvalidImage";
        case not_found: return "hipErrorNotFound";
        case launch_failure: return "hipErrorLaunchFailure";
        case not_supported: return "hipErrorNotSupported";
        default: return "hipErrorUnknown";
    }
}

const char* hipGetErrorString(int status) {
    static thread_local std::string text;
    text = status == launch_failure ? "unspecified launch failure: " + failure() : hipGetErrorName(status);
    return text.c_str();
}

// Not HIP's: the order of threads from now on.
void emulator_seed(uint64_t number) { seed(number); }

}  // extern "C"
