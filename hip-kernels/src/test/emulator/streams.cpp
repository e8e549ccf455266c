// What is asked of a device waits in queues, one for each stream, and runs later, at the latest when the host waits for it.
// Which stream runs next is random, and one is often far ahead of another: so that a missing event, host memory that is
// used again before it was read, and device memory that another stream still uses show. Work of all devices runs on
// whichever thread of the host asks for it, one piece at a time.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <set>

#include "runtime.h"

namespace emulator {

struct Stream {
    int device;
    // Still has work, but the host has no handle of it any more.
    bool destroyed;
    std::deque<Work> queue;
    // What is issued while it records, instead of being done.
    bool records = false;
    std::vector<Work> recorded = {};
};

struct Event {
    std::shared_ptr<Moment> recorded;
};

namespace {

// As cards do, which have room for about so much: then asking waits.
constexpr size_t most_waiting = 1024;
// Average number of tasks that one stream runs before another one may.
constexpr unsigned run_length = 12;

std::recursive_mutex lock;
std::list<Stream> streams;
std::map<int, Stream*> null_streams;
std::map<int, int> losses;
std::map<const char*, size_t> page_locked;
std::string why;
Stream* favourite = nullptr;
uint64_t random_state = (uint64_t)setting("OPT_GPTQ_EMULATOR_SEED", 0) * 2 + 1;  // never 0

uint64_t random_number() {  // xorshift64*
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * 0x2545F4914F6CDD1DULL) >> 32;
}

bool can_run(const Stream& stream) {
    return !stream.queue.empty()
        && (stream.queue.front().awaited == nullptr || stream.queue.front().awaited->happened);
}

void happen(const std::shared_ptr<Moment>& moment) {
    if (moment != nullptr) {
        clock_gettime(CLOCK_MONOTONIC, &moment->time);
        moment->happened = true;
    }
}

void sweep() {
    for (auto stream = streams.begin(); stream != streams.end();) {
        bool over = stream->destroyed && stream->queue.empty();
        if (over && favourite == &*stream) {
            favourite = nullptr;
        }
        stream = over ? streams.erase(stream) : std::next(stream);
    }
}

void lose_locked(int device, int status, const std::string& what) {
    losses[device] = status;
    why = what;
    for (Stream& stream : streams) {
        if (stream.device == device) {
            // Nothing of it is done any more, and nobody waits for it forever.
            for (Work& work : stream.queue) {
                happen(work.happens);
            }
            stream.queue.clear();
        }
    }
}

Stream* choose() {
    std::vector<Stream*> ready;
    for (Stream& stream : streams) {
        if (can_run(stream)) {
            ready.push_back(&stream);
        }
    }
    bool stays = std::find(ready.begin(), ready.end(), favourite) != ready.end() && random_number() % run_length != 0;
    if (!stays && !ready.empty()) {
        favourite = ready[random_number() % ready.size()];
    }
    return ready.empty() ? nullptr : favourite;
}

// False when there is nothing that can run.
bool run_one() {
    Stream* stream = choose();
    if (stream == nullptr) {
        return false;
    }
    Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (stream->queue.empty()) {
        favourite = nullptr;  // or what it is given next would nearly always come before others
    }
    int device = stream->device;
    if (work.run) {
        std::string what;
        int status = work.run(what);
        if (status != 0) {
            lose_locked(device, status, what);
        }
    }
    happen(work.happens);
    sweep();
    return true;
}

template <class Condition> void run_until(Condition done) {
    while (!done()) {
        if (!run_one()) {
            fprintf(stderr, "emulator: streams wait for each other\n");
            abort();
        }
    }
}

Stream* of(Stream* stream, int device) {
    if (stream != nullptr) {
        return stream;
    }
    Stream*& null_stream = null_streams[device];
    if (null_stream == nullptr) {
        streams.push_back(Stream{device, false, {}});
        null_stream = &streams.back();
    }
    return null_stream;
}

bool overlap(const char* a, size_t a_bytes, const char* b, size_t b_bytes) { return a < b + b_bytes && b < a + a_bytes; }

}  // namespace

Stream* create_stream(int device) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    streams.push_back(Stream{device, false, {}});
    return &streams.back();
}

void destroy_stream(Stream* stream) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    stream->destroyed = true;
    sweep();
}

int device_of(const Stream* stream, int current) { return stream == nullptr ? current : stream->device; }

Event* create_event() { return new Event(); }

void destroy_event(Event* event) { delete event; }

int issue(Stream* handle, int current, Work work) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    Stream* stream = of(handle, current);
    if (losses[stream->device] != 0) {
        return losses[stream->device];
    }
    if (stream->records) {
        if (work.awaited != nullptr || work.happens != nullptr || work.host != nullptr) {
            return unsupported_in_capture;
        }
        stream->recorded.push_back(std::move(work));
        return 0;
    }
    stream->queue.push_back(std::move(work));
    while (stream->queue.size() > most_waiting || random_number() % 4 == 0) {
        if (!run_one()) {
            break;
        }
    }
    return 0;  // as a card does: a later call says what became of it
}

int record(Event* event, Stream* stream, int current) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    event->recorded = std::make_shared<Moment>();
    Work work;
    work.happens = event->recorded;
    int status = issue(stream, current, std::move(work));
    if (status != 0) {
        happen(event->recorded);
    }
    return status;
}

int await(Stream* stream, Event* event, int current) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    Work work;
    work.awaited = event->recorded;
    return issue(stream, current, std::move(work));
}

int begin_recording(Stream* stream) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (stream == nullptr || stream->records) {
        return unsupported_in_capture;
    }
    stream->records = true;
    stream->recorded.clear();
    return 0;
}

bool end_recording(Stream* stream, std::vector<Work>& recorded) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    bool records = stream->records;
    stream->records = false;
    recorded = std::move(stream->recorded);
    stream->recorded.clear();
    return records;
}

int synchronize(Stream* handle, int current) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    Stream* stream = of(handle, current);
    if (stream->records) {
        return unsupported_in_capture;
    }
    run_until([&] { return stream->queue.empty(); });
    return losses[stream->device];
}

void synchronize(Event* event) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    std::shared_ptr<Moment> recorded = event->recorded;
    run_until([&] { return recorded == nullptr || recorded->happened; });
}

int synchronize_device(int device) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    run_until([&] {
        return std::all_of(streams.begin(), streams.end(),
                           [&](const Stream& stream) { return stream.device != device || stream.queue.empty(); });
    });
    return losses[device];
}

bool happened(const Event* event) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    return event->recorded == nullptr || event->recorded->happened;
}

timespec time_of(const Event* event) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    return event->recorded == nullptr ? timespec{} : event->recorded->time;
}

int lost(int device) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    return losses[device];
}

void lose(int device, int status, const std::string& what) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    lose_locked(device, status, what);
}

std::string failure() {
    std::lock_guard<std::recursive_mutex> guard(lock);
    return why;
}

void reset() {
    std::lock_guard<std::recursive_mutex> guard(lock);
    for (Stream& stream : streams) {
        lose_locked(stream.device, 0, "");
    }
    losses.clear();
}

void page_lock(const void* memory, size_t bytes) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    page_locked[(const char*)memory] = bytes;
}

bool is_page_locked(const void* memory, size_t bytes) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    auto next = page_locked.upper_bound((const char*)memory);
    if (next == page_locked.begin()) {
        return false;
    }
    auto block = std::prev(next);
    return (const char*)memory + bytes <= block->first + block->second;
}

bool page_unlock(const void* memory) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    auto block = page_locked.find((const char*)memory);
    if (block == page_locked.end()) {
        return false;
    }
    std::set<int> users;
    for (const Stream& stream : streams) {
        for (const Work& work : stream.queue) {
            if (overlap((const char*)work.host, work.host_bytes, block->first, block->second)) {
                users.insert(stream.device);
            }
        }
    }
    for (int device : users) {
        lose_locked(device, illegal_address, "page-locked memory was given back before a copy had used it");
    }
    page_locked.erase(block);
    return true;
}

void seed_streams(uint64_t seed) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    random_state = seed * 2 + 1;  // never 0
    favourite = nullptr;
}

}  // namespace emulator
