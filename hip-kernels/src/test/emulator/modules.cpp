// Compiled sources and their kernels: the module and launch functions of HIP.
#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime.h"

using namespace emulator;

namespace {

std::atomic<unsigned long> launches{0};

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

int run_kernel(const Function* function, Index blocks, Index threads, const std::vector<std::vector<char>>& values,
               std::string& failure) {
    std::vector<void*> pointers;
    for (const std::vector<char>& value : values) {
        pointers.push_back((void*)value.data());
    }
    Launch it = {function->name, function->kernel->run, pointers.data(), blocks, threads};
    bool good = launch(it, failure);
    return good && ++launches != (unsigned long)setting("OPT_GPTQ_EMULATOR_LOST_AT", 0) ? (int)success : launch_failure;
}

}  // namespace

extern "C" {

int hipModuleLoadData(void** module, const void* image) {
    size_t bytes = 0;
    if (status() != success || !image_bytes(image, &bytes)) {
        return status() != success ? status() : invalid_image;
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

// Waits, as its kernels may be waiting.
int hipModuleUnload(void* module) {
    synchronize_device(current_device);
    dlclose(((Module*)module)->library);
    delete (Module*)module;
    return status();
}

// Functions live as long as the process: HIP gives no way to free them.
int hipModuleGetFunction(void** function, void* module, const char* name) {
    const void* symbol = dlsym(((Module*)module)->library, (std::string("emulator_kernel_") + name).c_str());
    if (symbol == nullptr) {
        return not_found;
    }
    *function = new Function{name, (const Kernel*)symbol};
    return status();
}

int hipModuleLaunchKernel(void* handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, void* stream, void** arguments, void** extra) {
    int device = device_of((Stream*)stream, current_device);
    if (lost(device) != success) {
        return lost(device);
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
    std::vector<std::vector<char>> values;
    for (const unsigned long* size = function->kernel->sizes; *size != 0; size++) {
        const char* value = (const char*)*arguments++;
        values.emplace_back(value, value + *size);
    }
    Work work;
    work.run = [=](std::string& failure) {
        return run_kernel(function, {gx, gy, gz}, {bx, by, bz}, values, failure);
    };
    return issue((Stream*)stream, current_device, std::move(work));
}

}  // extern "C"
