// hiprtc as far as it is called: a program is a kernel source, compiling it is g++ -shared, the code object is the bytes
// of the library. GXX names another compiler. What was compiled is kept beside the emulator, under a hash of all that it is
// made from: test classes, devices and modules open the same kernels again and again.
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "runtime.h"

extern "C" const char emulator_header[];
extern "C" const char emulator_header_end[];
asm(".section .rodata\n"
    ".globl emulator_header, emulator_header_end\n.hidden emulator_header, emulator_header_end\n"
    "emulator_header: .incbin \"emulator.h\"\n"
    "emulator_header_end: .byte 0\n"
    ".text\n");

namespace {

constexpr int compilation_failed = 6;
// Contraction off as KernelCompiler promises; what is fused is fused by name.
// Higher levels of optimization cost the tests more than they save.
const char* flags = " -std=c++17 -O1 -mavx2 -mfma -mf16c -ffp-contract=off -fno-math-errno -fno-gnu-unique -fstack-clash-protection"
    " -fPIC -w";

struct Program {
    std::string source;
    std::vector<std::pair<std::string, std::string>> headers;
    std::string log;
    std::string code;
};

std::string contents(const std::string& path) {
    std::string text;
    FILE* file = fopen(path.c_str(), "rb");
    if (file == nullptr) {
        return text;
    }
    char buffer[65536];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;) {
        text.append(buffer, n);
    }
    fclose(file);
    return text;
}

bool put(const std::string& path, const std::string& text) {
    FILE* file = fopen(path.c_str(), "wb");
    if (file == nullptr) {
        return false;
    }
    bool good = fwrite(text.data(), 1, text.size(), file) == text.size();
    return fclose(file) == 0 && good;
}

// One EMULATOR_EXPORT for each "__global__ void __launch_bounds__(256) name(" of a preprocessed source.
std::string exports(const std::string& source) {
    std::string all;
    for (size_t at = source.find("__global__"); at != std::string::npos; at = source.find("__global__", at + 1)) {
        std::string threads = "1024";
        size_t open = source.find('(', at);
        size_t bounds = source.find("__launch_bounds__", at);
        if (bounds < open) {
            size_t close = open;
            for (int depth = 1; depth > 0;) {
                close = source.find_first_of("()", close + 1);
                depth += source[close] == '(' ? 1 : -1;
            }
            threads = source.substr(open + 1, close - open - 1);
            open = source.find('(', close);
        }
        size_t end = source.find_last_not_of(" \t\n", open - 1);
        size_t start = source.find_last_of(" \t\n)", end) + 1;
        all += "EMULATOR_EXPORT(" + source.substr(start, end - start + 1) + ", " + threads + ")\n";
    }
    return all;
}

std::string quoted(const std::string& text) {
    std::string all = "'";
    for (char c : text) {
        all += c == '\'' ? std::string("'\\''") : std::string(1, c);
    }
    return all + "'";
}

// Where the code of these commands and this source is kept: 128 bits of FNV-1a, in two passes from different bases.
std::string kept(const std::string& emulator, const std::string& commands, const std::string& source) {
    char name[40];
    unsigned long long hash[2] = {0xcbf29ce484222325u, 0x84222325cbf29ce4u};
    for (unsigned long long& half : hash) {
        for (unsigned char c : commands + '\0' + source) {
            half = (half ^ c) * 0x100000001b3u;
        }
    }
    snprintf(name, sizeof name, "/kept/%016llx%016llx", hash[0], hash[1]);
    return emulator.substr(0, emulator.rfind('/')) + name;
}

// Puts a file in place at once; another process may be reading it. Nothing is lost where that fails.
void keep(const std::string& path, const std::string& code) {
    mkdir(path.substr(0, path.rfind('/')).c_str(), 0777);
    std::string part = path + "." + std::to_string(getpid()) + "." + std::to_string((unsigned long)pthread_self());
    if (!put(part, code) || rename(part.c_str(), path.c_str()) != 0) {
        remove(part.c_str());
    }
}

bool run(const std::string& command) { return system(command.c_str()) == 0; }

int compile(Program* program, const std::string& folder, const std::string& options) {
    std::string header(emulator_header, emulator_header_end);
    bool written = put(folder + "/emulator.h", header) && put(folder + "/kernel.hip", program->source);
    for (const auto& entry : program->headers) {
        written = written && put(folder + "/" + entry.first, entry.second);
    }
    if (!written) {
        program->log = "could not write to " + folder;
        return compilation_failed;
    }
    const char* chosen = getenv("GXX");
    std::string gxx = std::string("cd ") + quoted(folder) + " && " + (chosen == nullptr ? "g++" : chosen) + flags + options
        + " -DGPU_WAVE=" + std::to_string(GPU_WAVE);
    Dl_info self;
    dladdr((void*)&exports, &self);
    // Preprocessed first, so that the names of kernels can be read off whatever macro declared them.
    bool good = run(gxx + " -x c++ -include emulator.h -E kernel.hip -o kernel.ii 2>log");
    if (good) {
        std::string source = contents(folder + "/kernel.ii");
        // The macros of emulator.h are gone by then; the exports need them again.
        std::string before = "#define __global__\n#define __launch_bounds__(threads)\n";
        std::string macro = header.substr(header.find("#define EMULATOR_EXPORT"));
        macro = macro.substr(0, macro.find("\n\n") + 1);
        source = before + source + "\n" + macro + exports(source);
        std::string path = kept(self.dli_fname, gxx.substr(gxx.find(" && ")), source);
        program->code = contents(path);
        if (program->code.empty()) {
            good = put(folder + "/kernel.cpp", source)
                && run(gxx + " -x c++ -shared kernel.cpp -x none " + quoted(self.dli_fname) + " -o kernel.so 2>log");
            if (good) {
                program->code = contents(folder + "/kernel.so");
                keep(path, program->code);
            }
        }
    }
    program->log = contents(folder + "/log");
    return good ? 0 : compilation_failed;
}

}  // namespace

extern "C" {

int hiprtcVersion(int* major, int* minor) {
    *major = 9;
    *minor = 0;
    return 0;
}

int hiprtcCreateProgram(void** program, const char* source, const char*, int count, const char** headers,
                        const char** names) {
    Program* created = new Program();
    created->source = source;
    for (int i = 0; i < count; i++) {
        created->headers.emplace_back(names[i], headers[i]);
    }
    *program = created;
    return 0;
}

int hiprtcDestroyProgram(void** program) {
    delete (Program*)*program;
    *program = nullptr;
    return 0;
}

int hiprtcCompileProgram(void* handle, int count, const char** options) {
    char folder[] = "/tmp/opt-gptq-emulator-XXXXXX";
    if (mkdtemp(folder) == nullptr) {
        return compilation_failed;
    }
    std::string defines;
    for (int i = 0; i < count; i++) {
        if (strcmp(options[i], "-DEMULATOR_CRASH") == 0) {
            abort();  // as AMD's does for an unknown architecture
        }
        bool is_wave = strncmp(options[i], "-DGPU_WAVE", 10) == 0;
        if (strncmp(options[i], "-D", 2) == 0 && !is_wave) {
            defines += " " + quoted(options[i]);
        }
    }
    int status = compile((Program*)handle, folder, defines);
    run(std::string("rm -r ") + folder);
    return status;
}

int hiprtcGetProgramLogSize(void* program, size_t* bytes) {
    *bytes = ((Program*)program)->log.size() + 1;
    return 0;
}

int hiprtcGetProgramLog(void* program, char* log) {
    strcpy(log, ((Program*)program)->log.c_str());
    return 0;
}

int hiprtcGetCodeSize(void* program, size_t* bytes) {
    *bytes = ((Program*)program)->code.size();
    return 0;
}

int hiprtcGetCode(void* program, char* code) {
    memcpy(code, ((Program*)program)->code.data(), ((Program*)program)->code.size());
    return 0;
}

const char* hiprtcGetErrorString(int status) {
    return status == 0 ? "HIPRTC_SUCCESS" : status == compilation_failed ? "HIPRTC_ERROR_COMPILATION" : "HIPRTC_ERROR";
}

}  // extern "C"
