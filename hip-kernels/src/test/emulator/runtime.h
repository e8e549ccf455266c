// What the parts of the emulator share.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

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

// Runs all blocks. False when a kernel broke a rule; failure() says which, where and in what thread.
bool launch(const Launch& launch);

// Why the last launch failed.
const std::string& failure();

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

// NAME of the environment as a number.
long setting(const char* name, long otherwise);

}  // namespace emulator
