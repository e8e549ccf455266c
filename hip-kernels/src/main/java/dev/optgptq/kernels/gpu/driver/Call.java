package dev.optgptq.kernels.gpu.driver;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.MemoryLayout;
import java.util.List;

/**
 * The calls that both runtimes have, with the name in each and the arguments, which are the same in both. All return a
 * status. Handles and device addresses are 64-bit integers here, which every 64-bit calling convention passes as it
 * passes pointers; ADDRESS is host memory.
 */
enum Call {
    // @formatter:off
    INIT("hipInit", "cuInit", JAVA_INT),
    VERSION("hipRuntimeGetVersion", "cuDriverGetVersion", ADDRESS),
    DEVICE_COUNT("hipGetDeviceCount", "cuDeviceGetCount", ADDRESS),
    DEVICE_NAME("hipDeviceGetName", "cuDeviceGetName", ADDRESS, JAVA_INT, JAVA_INT),
    DEVICE_ATTRIBUTE("hipDeviceGetAttribute", "cuDeviceGetAttribute", ADDRESS, JAVA_INT, JAVA_INT),
    DEVICE_MEMORY("hipDeviceTotalMem", "cuDeviceTotalMem_v2", ADDRESS, JAVA_INT),
    MEMORY_INFO("hipMemGetInfo", "cuMemGetInfo_v2", ADDRESS, ADDRESS),
    ALLOCATE("hipMalloc", "cuMemAlloc_v2", ADDRESS, JAVA_LONG),
    FREE("hipFree", "cuMemFree_v2", JAVA_LONG),
    ALLOCATE_PINNED("hipHostMalloc", "cuMemHostAlloc", ADDRESS, JAVA_LONG, JAVA_INT),
    FREE_PINNED("hipHostFree", "cuMemFreeHost", ADDRESS),
    TO_DEVICE("hipMemcpyHtoDAsync", "cuMemcpyHtoDAsync_v2", JAVA_LONG, ADDRESS, JAVA_LONG, JAVA_LONG),
    TO_HOST("hipMemcpyDtoHAsync", "cuMemcpyDtoHAsync_v2", ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG),
    ON_DEVICE("hipMemcpyDtoDAsync", "cuMemcpyDtoDAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG),
    FILL("hipMemsetD8Async", "cuMemsetD8Async", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG),
    CREATE_STREAM("hipStreamCreateWithFlags", "cuStreamCreate", ADDRESS, JAVA_INT),
    DESTROY_STREAM("hipStreamDestroy", "cuStreamDestroy_v2", JAVA_LONG),
    SYNCHRONIZE_STREAM("hipStreamSynchronize", "cuStreamSynchronize", JAVA_LONG),
    AWAIT_EVENT("hipStreamWaitEvent", "cuStreamWaitEvent", JAVA_LONG, JAVA_LONG, JAVA_INT),
    CREATE_EVENT("hipEventCreateWithFlags", "cuEventCreate", ADDRESS, JAVA_INT),
    DESTROY_EVENT("hipEventDestroy", "cuEventDestroy_v2", JAVA_LONG),
    RECORD_EVENT("hipEventRecord", "cuEventRecord", JAVA_LONG, JAVA_LONG),
    SYNCHRONIZE_EVENT("hipEventSynchronize", "cuEventSynchronize", JAVA_LONG),
    ELAPSED("hipEventElapsedTime", "cuEventElapsedTime", ADDRESS, JAVA_LONG, JAVA_LONG),
    LOAD_MODULE("hipModuleLoadData", "cuModuleLoadData", ADDRESS, ADDRESS),
    UNLOAD_MODULE("hipModuleUnload", "cuModuleUnload", JAVA_LONG),
    FUNCTION("hipModuleGetFunction", "cuModuleGetFunction", ADDRESS, JAVA_LONG, ADDRESS),
    /** Function; blocks and threads in x, y, z; shared bytes; stream; pointers to arguments; null. */
    LAUNCH("hipModuleLaunchKernel", "cuLaunchKernel", JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT,
            JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS, ADDRESS);
    // @formatter:on

    final String hip;
    final String cuda;
    @SuppressWarnings("ImmutableEnumChecker") // a copy that cannot be changed, of layouts, which cannot either
    final List<MemoryLayout> arguments;

    Call(String hip, String cuda, MemoryLayout... arguments) {
        this.hip = hip;
        this.cuda = cuda;
        this.arguments = List.of(arguments);
    }
}
