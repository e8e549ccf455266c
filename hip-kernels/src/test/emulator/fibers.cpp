// Runs the blocks of a launch one after another, the threads of a block as fibers in random order. A fiber runs until it
// reaches a barrier, exchanges with its wave, or ends; waves run at random times, so that a missing barrier shows.
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include "runtime.h"

namespace emulator {

Thread* thread;
Block block;

namespace {

enum class State { ready, at_barrier, at_wave, done };

struct Fiber : Thread {
    void* stack_pointer;
    State state;
    unsigned wave;
    unsigned lane;
    // Counts exchanges, so that a value stays readable while others are at the next exchange.
    unsigned exchanges;
    const char* file;
    int line;
};

struct Wave {
    unsigned first, count;
    unsigned long long slots[2][GPU_WAVE];
};

constexpr size_t page = 4096;
constexpr size_t stack_bytes = 64 * 1024;
constexpr unsigned most_arrays = 16;

// One kernel runs at a time.
std::mutex lock;
std::string message;
std::vector<Fiber> fibers;
std::vector<Wave> waves;
std::vector<unsigned> order;
char* stacks;
void* scheduler;
const Launch* current;
uint64_t random_state = (uint64_t)setting("OPT_GPTQ_EMULATOR_SEED", 0) * 2 + 1;  // never 0
sigjmp_buf escape;
// Whether a fiber runs, and the host thread that runs it: faults of others are none of ours.
volatile sig_atomic_t running = 0;
pthread_t runner;
struct sigaction before_segv, before_bus;

struct Array {
    const void* declaration;
    char* data;
};
Array arrays[most_arrays];
unsigned array_count;
unsigned long shared_bytes;
// most_arrays regions of 64 KiB, each followed by a page that nobody may touch.
char* shared_memory;

extern "C" void emulator_switch(void** save, void* to);
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch,@function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

uint64_t random_number() {  // xorshift64*
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1DULL;
}

Fiber* self() { return static_cast<Fiber*>(thread); }

std::string text(Index index) {
    return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

std::string place(const Fiber& fiber) {
    std::string name = fiber.file == nullptr ? "" : fiber.file;
    return "thread " + text(fiber.index) + (fiber.file == nullptr ? "" : " at " + name + ":" + std::to_string(fiber.line));
}

[[noreturn]] void fail(const std::string& what) {
    running = 0;
    message = "kernel " + current->kernel + ", block " + text(block.index) + ": " + what;
    siglongjmp(escape, 1);
}

void stop(State state, const char* file, int line) {
    Fiber* me = self();
    me->state = state;
    me->file = file;
    me->line = line;
    emulator_switch(&me->stack_pointer, scheduler);
}

void start() {
    current->run(current->arguments);
    stop(State::done, nullptr, 0);
}

void prepare_stack(unsigned i) {
    // Tops differ by a few cache lines, or all fibers would meet in one cache set.
    char* top = stacks + (size_t)(i + 1) * (page + stack_bytes) - 64 - (i % 16) * 128;
    void** at = (void**)top;
    *--at = nullptr;
    *--at = (void*)start;
    for (int i = 0; i < 6; i++) {
        *--at = nullptr;
    }
    fibers[i].stack_pointer = at;
}

void map_memory() {
    if (stacks != nullptr) {
        return;
    }
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    stacks = (char*)mmap(nullptr, most_threads * (page + stack_bytes), PROT_READ | PROT_WRITE, flags, -1, 0);
    for (unsigned i = 0; i < most_threads; i++) {
        mprotect(stacks + i * (page + stack_bytes), page, PROT_NONE);
    }
    size_t region = most_shared_bytes + page;
    shared_memory = (char*)mmap(nullptr, most_arrays * region, PROT_READ | PROT_WRITE, flags, -1, 0);
    for (unsigned i = 0; i < most_arrays; i++) {
        mprotect(shared_memory + i * region + most_shared_bytes, page, PROT_NONE);
    }
}

// Everyone of a wave who has not ended is at the exchange, or the launch fails. False while some are ready.
bool wave_is_complete(const Wave& wave) {
    unsigned waiting = 0;
    for (unsigned i = wave.first; i < wave.first + wave.count; i++) {
        waiting += fibers[i].state == State::at_wave;
    }
    return waiting == wave.count;
}

bool release_waves(bool all) {
    bool released = false;
    for (Wave& wave : waves) {
        // A wave may fall behind the others: they are not in step.
        if (wave_is_complete(wave) && (all || random_number() % 2 == 0)) {
            for (unsigned i = wave.first; i < wave.first + wave.count; i++) {
                fibers[i].state = State::ready;
            }
            released = true;
        }
    }
    return released;
}

void release_barrier() {
    const Fiber& first = fibers[0];
    for (const Fiber& fiber : fibers) {
        if (fiber.state != first.state || fiber.line != first.line
            || (fiber.file != first.file && strcmp(fiber.file, first.file) != 0)) {
            const char* what[] = {"runs", "waits at a barrier", "waits for its wave", "has ended"};
            fail("divergent: " + place(first) + " " + what[(int)first.state] + ", " + place(fiber) + " "
                 + what[(int)fiber.state]);
        }
    }
    if (first.state == State::at_wave) {
        fail("divergent: " + place(first) + " waits for lanes of its wave that are not there");
    }
    for (Fiber& fiber : fibers) {
        fiber.state = State::ready;
    }
}

void run_ready() {
    order.clear();
    for (unsigned i = 0; i < fibers.size(); i++) {
        if (fibers[i].state == State::ready) {
            order.push_back(i);
        }
    }
    for (unsigned i = (unsigned)order.size(); i > 1; i--) {
        std::swap(order[i - 1], order[random_number() % i]);
    }
    for (unsigned i : order) {
        thread = &fibers[i];
        emulator_switch(&scheduler, fibers[i].stack_pointer);
    }
}

bool all_done() {
    return std::all_of(fibers.begin(), fibers.end(), [](const Fiber& fiber) { return fiber.state == State::done; });
}

void run_block() {
    array_count = 0;
    shared_bytes = 0;
    for (unsigned i = 0; i < fibers.size(); i++) {
        fibers[i].state = State::ready;
        fibers[i].exchanges = 0;
        fibers[i].file = nullptr;
        prepare_stack(i);
    }
    while (true) {
        run_ready();
        if (release_waves(false) || release_waves(true)) {
            continue;
        }
        if (all_done()) {
            return;
        }
        release_barrier();
    }
}

void prepare_threads(Index threads) {
    unsigned count = threads.x * threads.y * threads.z;
    fibers.resize(count);
    waves.resize((count + GPU_WAVE - 1) / GPU_WAVE);
    for (unsigned w = 0; w < waves.size(); w++) {
        waves[w].first = w * GPU_WAVE;
        waves[w].count = std::min<unsigned>(GPU_WAVE, count - w * GPU_WAVE);
        memset(waves[w].slots, poison, sizeof waves[w].slots);
    }
    for (unsigned i = 0; i < count; i++) {
        fibers[i].index = {i % threads.x, i / threads.x % threads.y, i / (threads.x * threads.y)};
        fibers[i].wave = i / GPU_WAVE;
        fibers[i].lane = i % GPU_WAVE;
    }
}

void pass_on(int signal, siginfo_t* info, void* context) {
    struct sigaction& before = signal == SIGSEGV ? before_segv : before_bus;
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(signal, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(signal);
    } else {
        sigaction(signal, &before, nullptr);
    }
}

void on_fault(int signal, siginfo_t* info, void* context) {
    if (!running || !pthread_equal(runner, pthread_self())) {
        pass_on(signal, info, context);
        return;
    }
    char* address = (char*)info->si_addr;
    size_t region = most_shared_bytes + page;
    std::string where = describe(address);
    if (address >= shared_memory && address < shared_memory + most_arrays * region) {
        where = "memory behind a shared array";
    } else if (address >= stacks && address < stacks + most_threads * (page + stack_bytes)) {
        where = "memory below its stack of 64 KiB";
    } else if (where.empty()) {
        char text[80];
        snprintf(text, sizeof text, "address %p, which is no device memory", (void*)address);
        where = text;
    }
    Fiber* me = self();
    me->file = nullptr;
    fail(place(*me) + " touches " + where);
}

void install_handlers() {
    static bool installed = false;
    if (!installed) {
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &action, &before_segv);
        sigaction(SIGBUS, &action, &before_bus);
        installed = true;
    }
}

}  // namespace

void barrier(const char* file, int line) { stop(State::at_barrier, file, line); }

unsigned long long exchange(unsigned long long value, int lane) {
    Fiber* me = self();
    unsigned slot = me->exchanges++ % 2;
    waves[me->wave].slots[slot][me->lane] = value;
    stop(State::at_wave, nullptr, 0);
    return waves[me->wave].slots[slot][lane];
}

unsigned long long vote(bool condition) {
    Fiber* me = self();
    unsigned slot = me->exchanges++ % 2;
    Wave& wave = waves[me->wave];
    wave.slots[slot][me->lane] = condition;
    stop(State::at_wave, nullptr, 0);
    unsigned long long all = 0;
    for (unsigned i = 0; i < wave.count; i++) {
        all |= wave.slots[slot][i] << i;
    }
    return all;
}

void gather(unsigned long long value, unsigned long long* all) {
    Fiber* me = self();
    unsigned slot = me->exchanges++ % 2;
    Wave& wave = waves[me->wave];
    wave.slots[slot][me->lane] = value;
    stop(State::at_wave, nullptr, 0);
    memcpy(all, wave.slots[slot], wave.count * sizeof *all);
}

int lane() { return (int)self()->lane; }

void* shared(const void* declaration, unsigned long bytes, unsigned long) {
    for (unsigned i = 0; i < array_count; i++) {
        if (arrays[i].declaration == declaration) {
            return arrays[i].data;
        }
    }
    shared_bytes += bytes;
    if (shared_bytes > most_shared_bytes || array_count == most_arrays) {
        fail("more than 64 KiB of shared memory, or more than 16 arrays");
    }
    char* end = shared_memory + array_count * (most_shared_bytes + page) + most_shared_bytes;
    arrays[array_count++] = {declaration, end - bytes};
    memset(end - bytes, poison, bytes);
    return end - bytes;
}

void outside(const char* array, long index, unsigned long count) {
    fail("thread " + text(thread->index) + " uses element " + std::to_string(index) + " of the shared array " + array
         + ", which has " + std::to_string(count));
}

void seed(uint64_t seed) {
    std::lock_guard<std::mutex> guard(lock);
    random_state = seed * 2 + 1;  // never 0
}

bool launch(const Launch& launch, std::string& what) {
    std::lock_guard<std::mutex> guard(lock);
    map_memory();
    install_handlers();
    current = &launch;
    block.threads = launch.threads;
    block.blocks = launch.blocks;
    prepare_threads(launch.threads);
    runner = pthread_self();
    // A stack of its own for the handler: the fault may be a full stack.
    static char handler_stack[64 * 1024];
    stack_t alternative = {};
    alternative.ss_sp = handler_stack;
    alternative.ss_size = sizeof handler_stack;
    stack_t before;
    sigaltstack(&alternative, &before);
    bool good = sigsetjmp(escape, 1) == 0;
    if (good) {
        running = 1;
        for (unsigned z = 0; z < launch.blocks.z; z++) {
            for (unsigned y = 0; y < launch.blocks.y; y++) {
                for (unsigned x = 0; x < launch.blocks.x; x++) {
                    block.index = {x, y, z};
                    run_block();
                }
            }
        }
    }
    running = 0;
    before.ss_flags &= ~SS_ONSTACK;
    sigaltstack(&before, nullptr);
    what = good ? "" : message;
    return good;
}

}  // namespace emulator
