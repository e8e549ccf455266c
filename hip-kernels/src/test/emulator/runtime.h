// What the parts of the emulator share.
#pragma once
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emulator.h"

// The width of a wave is that of the library: one is built for 64 and one for 32.
#ifndef GPU_WAVE
#error "pass -DGPU_WAVE=64 or 32"
#endif

namespace emulator {

constexpr unsigned most_threads = 1024;
constexpr unsigned long most_shared_bytes = 65536;
// What memory holds before it is written: NaN as a float, -1 as an index.
constexpr unsigned char poison = 0xFF;

struct Launch {
    std::string kernel;
    void (*run)(void** arguments);
    void** arguments;
    Index blocks;
    Index threads;
};

// Runs all blocks. False when a kernel broke a rule; what says which, where and in what thread.
bool launch(const Launch& launch, std::string& what);

// The seed of the order in which threads run, for the launches from now on.
void seed(uint64_t seed);

// Memory of a device with pages around it that nobody may touch; null when none is left.
void* allocate(size_t bytes, int device);
// False when there is no such block.
bool release(void* address);
// True when all the bytes lie in one block of that device.
bool owned(const void* address, size_t bytes, int device);
// What kind of place an address is, for messages about faults; empty when it is none of the device's.
std::string describe(const void* address);
size_t free_bytes(int device);
// Of each device.
size_t total_bytes();

// The statuses of calls, as hip_runtime_api.h numbers them.
enum Status {
    success = 0,
    invalid_value = 1,
    out_of_memory = 2,
    invalid_configuration = 9,
    invalid_device = 101,
    invalid_image = 200,
    not_found = 500,
    not_ready = 600,
    not_supported = 801
};

// The statuses that a device is lost with.
constexpr int illegal_address = 700;
constexpr int launch_failure = 719;
// That of a call that a stream cannot record.
constexpr int unsupported_in_capture = 900;

// Something that an event was recorded for.
struct Moment {
    bool happened = false;
    timespec time = {};
};

// A piece of work of a stream, which waits for a moment, runs, and makes another one happen, where it has these.
struct Work {
    std::shared_ptr<Moment> awaited;
    // Returns a status, and says what failed.
    std::function<int(std::string& what)> run;
    std::shared_ptr<Moment> happens;
    // What it reads or writes of the host.
    const void* host = nullptr;
    size_t host_bytes = 0;
};

// Queues of work; a null stream is the default one of the current device. Where a status is returned it is that of the
// stream's device.
struct Stream;
struct Event;
Stream* create_stream(int device);
// Its work is still done.
void destroy_stream(Stream* stream);
int device_of(const Stream* stream, int current);
Event* create_event();
void destroy_event(Event* event);
int issue(Stream* stream, int current, Work work);
int record(Event* event, Stream* stream, int current);
int await(Stream* stream, Event* event, int current);
// Kernels, fills and copies on the device that are issued meanwhile are recorded instead of done.
int begin_recording(Stream* stream);
// False when it did not record.
bool end_recording(Stream* stream, std::vector<Work>& recorded);
int synchronize(Stream* stream, int current);
void synchronize(Event* event);
int synchronize_device(int device);
bool happened(const Event* event);
timespec time_of(const Event* event);

// 0 as long as a device can be used. What was issued to a lost one is dropped.
int lost(int device);
void lose(int device, int status, const std::string& what);
// The device of the calling thread's calls, and whether that is lost.
extern thread_local int current_device;
int status();
// Why the last device was lost.
std::string failure();
// All devices are as new.
void reset();

// Host memory of copies that run asynchronously.
void page_lock(const void* memory, size_t bytes);
bool is_page_locked(const void* memory, size_t bytes);
// False when there is no such block. Loses the devices that were still to copy from or to it.
bool page_unlock(const void* memory);

// The seed of the order in which streams run, from now on.
void seed_streams(uint64_t seed);

// NAME of the environment as a number.
long setting(const char* name, long otherwise);

}  // namespace emulator
