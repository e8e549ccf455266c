// The HIP functions that the driver layer calls, with the numbers of hip_runtime_api.h. Kernels, copies and fills are done
// later, see streams.cpp; what HIP waits for is waited for here. A kernel that broke a rule leaves status 719, as a real
// device does, and so do all calls after it until hipDeviceReset. Devices share no memory: what one copies must be its own
// when it is copied.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime.h"

using namespace emulator;

thread_local int emulator::current_device = 0;

int emulator::status() { return lost(current_device); }

namespace {

int devices() { return (int)setting("OPT_GPTQ_EMULATOR_DEVICES", 2); }

// Bytes of a device that a copy reads or writes.
struct Range {
    const void* address;
    size_t bytes;
    int device;

    bool is_there() const { return bytes == 0 || owned(address, bytes, device); }
};

// Ranges that are not there when it is issued are a mistake of the call; when it runs, they were given back too early.
int issue_copy(void* stream, const char* what, std::vector<Range> ranges, std::function<void()> copy,
               const void* host = nullptr, size_t host_bytes = 0) {
    int device = device_of((Stream*)stream, current_device);
    if (lost(device) != success) {
        return lost(device);
    }
    for (const Range& range : ranges) {
        if (!range.is_there()) {
            return invalid_value;
        }
    }
    Work work;
    work.host = host;
    work.host_bytes = host_bytes;
    work.run = [=](std::string& failure) {
        for (const Range& range : ranges) {
            if (!range.is_there()) {
                failure = std::string(what) + " uses memory that was given back before it ran";
                return illegal_address;
            }
        }
        copy();
        return (int)success;
    };
    return issue((Stream*)stream, current_device, std::move(work));
}

// Between host and device. Memory that is not page-locked is copied before the call returns, after the stream's work.
int copy_rows(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes, size_t rows, int kind,
              void* stream) {
    const void* device = kind == 1 ? to : from;
    const void* host = kind == 1 ? from : to;
    size_t pitch = kind == 1 ? to_pitch : from_pitch;
    size_t host_pitch = kind == 1 ? from_pitch : to_pitch;
    if (bytes > to_pitch || bytes > from_pitch) {
        return invalid_value;
    }
    size_t host_bytes = rows == 0 ? 0 : (rows - 1) * host_pitch + bytes;
    Range range = {device, rows == 0 ? 0 : (rows - 1) * pitch + bytes, device_of((Stream*)stream, current_device)};
    auto copy = [=] {
        for (size_t row = 0; row < rows; row++) {
            memcpy((char*)to + row * to_pitch, (const char*)from + row * from_pitch, bytes);
        }
    };
    bool waits = !is_page_locked(host, host_bytes);
    int status = issue_copy(stream, "a copy", {range}, copy, host, host_bytes);
    return status == success && waits ? synchronize((Stream*)stream, current_device) : status;
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
    return status();
}

int hipGetDevice(int* device) {
    *device = current_device;
    return success;
}

int hipDeviceReset() {
    reset();
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
    return status();
}

int hipMalloc(void** address, size_t bytes) {
    if (status() != success) {
        return status();
    }
    *address = allocate(bytes, current_device);
    return *address == nullptr ? out_of_memory : success;
}

// Waits for all that the device was given.
int hipFree(void* address) {
    synchronize_device(current_device);
    return release(address) ? status() : invalid_value;
}

int hipHostMalloc(void** address, size_t bytes, unsigned) {
    *address = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (*address == nullptr) {
        return out_of_memory;
    }
    page_lock(*address, bytes);
    return status();
}

int hipHostFree(void* address) {
    if (!page_unlock(address)) {
        return invalid_value;
    }
    free(address);
    return status();
}

int hipMemcpyHtoDAsync(void* to, const void* from, size_t bytes, void* stream) {
    return copy_rows(to, bytes, from, bytes, bytes, 1, 1, stream);
}

int hipMemcpyDtoHAsync(void* to, const void* from, size_t bytes, void* stream) {
    return copy_rows(to, bytes, from, bytes, bytes, 1, 2, stream);
}

int hipMemcpyDtoDAsync(void* to, const void* from, size_t bytes, void* stream) {
    int device = device_of((Stream*)stream, current_device);
    return issue_copy(stream, "a copy on a device", {{to, bytes, device}, {from, bytes, device}},
                      [=] { memmove(to, from, bytes); });
}

int hipDeviceCanAccessPeer(int* can, int device, int peer) {
    *can = device != peer;
    return device < 0 || peer < 0 || device >= devices() || peer >= devices() ? invalid_device : success;
}

int hipDeviceEnablePeerAccess(int peer, unsigned) { return peer < 0 || peer >= devices() ? invalid_device : status(); }

int hipMemcpyPeerAsync(void* to, int target, const void* from, int source, size_t bytes, void* stream) {
    return issue_copy(stream, "a copy between devices", {{to, bytes, target}, {from, bytes, source}},
                      [=] { memcpy(to, from, bytes); });
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
    int status = hipMemcpyAsync(to, from, bytes, kind, nullptr);
    return status == success ? synchronize((Stream*)nullptr, current_device) : status;
}

int hipMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes, size_t rows,
                     int kind, void* stream) {
    return kind == 1 || kind == 2 ? copy_rows(to, to_pitch, from, from_pitch, bytes, rows, kind, stream) : not_supported;
}

int hipMemsetD8Async(void* to, unsigned char value, size_t bytes, void* stream) {
    return issue_copy(stream, "a fill", {{to, bytes, device_of((Stream*)stream, current_device)}},
                      [=] { memset(to, value, bytes); });
}

int hipMemsetAsync(void* to, int value, size_t bytes, void* stream) {
    return hipMemsetD8Async(to, (unsigned char)value, bytes, stream);
}

// Those that wait for the default stream are not made.
int hipStreamCreateWithFlags(void** stream, unsigned flags) {
    if (flags != 1) {
        return not_supported;
    }
    *stream = create_stream(current_device);
    return status();
}

int hipStreamDestroy(void* stream) {
    destroy_stream((Stream*)stream);
    return status();
}

int hipStreamSynchronize(void* stream) { return synchronize((Stream*)stream, current_device); }
int hipStreamWaitEvent(void* stream, void* event, unsigned) { return await((Stream*)stream, (Event*)event, current_device); }
int hipDeviceSynchronize() { return synchronize_device(current_device); }

int hipEventCreateWithFlags(void** event, unsigned) {
    *event = create_event();
    return status();
}

int hipEventDestroy(void* event) {
    destroy_event((Event*)event);
    return status();
}

int hipEventRecord(void* event, void* stream) { return record((Event*)event, (Stream*)stream, current_device); }

int hipEventSynchronize(void* event) {
    synchronize((Event*)event);
    return status();
}

int hipEventElapsedTime(float* millis, void* from, void* to) {
    if (!happened((Event*)from) || !happened((Event*)to)) {
        return not_ready;
    }
    timespec a = time_of((Event*)from);
    timespec b = time_of((Event*)to);
    *millis = (float)((double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
    return status();
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
        case not_ready: return "hipErrorNotReady";
        case illegal_address: return "hipErrorIllegalAddress";
        case launch_failure: return "hipErrorLaunchFailure";
        case not_supported: return "hipErrorNotSupported";
        default: return "hipErrorUnknown";
    }
}

const char* hipGetErrorString(int status) {
    static thread_local std::string text;
    switch (status) {
        case launch_failure: text = "unspecified launch failure: " + failure(); break;
        case illegal_address: text = "illegal memory access: " + failure(); break;
        default: text = hipGetErrorName(status);
    }
    return text.c_str();
}

// Not HIP's: the order of threads and streams from now on.
void emulator_seed(uint64_t number) {
    seed(number);
    seed_streams(number);
}

}  // extern "C"
