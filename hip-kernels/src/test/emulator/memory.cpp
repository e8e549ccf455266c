// Memory of the devices: every block ends at a page that nobody may touch and is poisoned when it is handed out.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "runtime.h"

namespace emulator {

namespace {

constexpr size_t page = 4096;
// HIP promises 256; a block whose size is a multiple of it ends exactly at the guard.
constexpr size_t alignment = 256;

struct Mapping {
    char* start;
    size_t mapped;
    size_t bytes;
    int device;
};

std::mutex lock;
// By the address handed out.
std::map<char*, Mapping> mappings;
std::map<int, size_t> in_use;

}  // namespace

long setting(const char* name, long otherwise) {
    const char* text = getenv(name);
    return text == nullptr ? otherwise : strtol(text, nullptr, 10);
}

size_t total_bytes() { return (size_t)setting("OPT_GPTQ_EMULATOR_MEMORY_MIB", 8192) << 20; }

size_t free_bytes(int device) {
    std::lock_guard<std::mutex> guard(lock);
    return total_bytes() - in_use[device];
}

void* allocate(size_t bytes, int device) {
    std::lock_guard<std::mutex> guard(lock);
    size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    if (rounded > total_bytes() - in_use[device] || rounded < bytes) {
        return nullptr;
    }
    size_t inner = (rounded + page - 1) / page * page;
    size_t mapped = inner + 2 * page;
    void* start = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED || mprotect((char*)start + page, inner, PROT_READ | PROT_WRITE) != 0) {
        return nullptr;
    }
    memset((char*)start + page, poison, inner);
    char* address = (char*)start + page + inner - rounded;
    mappings[address] = Mapping{(char*)start, mapped, rounded, device};
    in_use[device] += rounded;
    return address;
}

bool release(void* address) {
    if (address == nullptr) {
        return true;
    }
    std::lock_guard<std::mutex> guard(lock);
    auto found = mappings.find((char*)address);
    if (found == mappings.end()) {
        return false;
    }
    in_use[found->second.device] -= found->second.bytes;
    munmap(found->second.start, found->second.mapped);
    mappings.erase(found);
    return true;
}

bool owned(const void* address, size_t bytes, int device) {
    std::lock_guard<std::mutex> guard(lock);
    auto next = mappings.upper_bound((char*)address);
    if (next == mappings.begin()) {
        return false;
    }
    auto block = std::prev(next);
    return block->second.device == device && (char*)address + bytes <= block->first + block->second.bytes;
}

// Called from the handler of a fault in a kernel, which holds no lock; another thread that does is not waited for.
std::string describe(const void* address) {
    std::unique_lock<std::mutex> guard(lock, std::try_to_lock);
    if (!guard.owns_lock()) {
        return "memory of a device";
    }
    for (const auto& entry : mappings) {
        const Mapping& mapping = entry.second;
        if (address >= mapping.start && address < mapping.start + mapping.mapped) {
            long offset = (char*)address - entry.first;
            return "byte " + std::to_string(offset) + " of a block of " + std::to_string(mapping.bytes) + " bytes";
        }
    }
    return "";
}

}  // namespace emulator
