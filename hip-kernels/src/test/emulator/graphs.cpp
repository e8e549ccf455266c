// Recordings of a stream's work: the capture and graph functions of HIP. A graph is the work that was issued meanwhile.
#include "runtime.h"

using namespace emulator;

extern "C" {

int hipStreamBeginCapture(void* stream, int mode) {
    return mode < 0 || mode > 2 ? (int)invalid_value : begin_recording((Stream*)stream);
}

int hipStreamEndCapture(void* stream, void** graph) {
    auto recorded = std::make_unique<std::vector<Work>>();
    if (!end_recording((Stream*)stream, *recorded)) {
        return invalid_value;
    }
    *graph = recorded.release();
    return success;
}

int hipGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
    *executable = new std::vector<Work>(*(const std::vector<Work>*)graph);
    return success;
}

int hipGraphLaunch(void* executable, void* stream) {
    for (const Work& work : *(const std::vector<Work>*)executable) {
        int status = issue((Stream*)stream, current_device, work);
        if (status != success) {
            return status;
        }
    }
    return success;
}

int hipGraphExecDestroy(void* executable) {
    delete (std::vector<Work>*)executable;
    return success;
}

int hipGraphDestroy(void* graph) { return hipGraphExecDestroy(graph); }

}  // extern "C"
