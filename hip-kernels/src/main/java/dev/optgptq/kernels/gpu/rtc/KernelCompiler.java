package dev.optgptq.kernels.gpu.rtc;

import dev.optgptq.kernels.gpu.driver.GpuDriver;

/**
 * Compiles a kernel source into code that a driver loads. Every source is compiled with the macros GPU_WAVE (threads
 * that run in step, 64 or 32) and GPU_HIP or GPU_CUDA (1), as C++17, and with floating-point contraction off: a
 * multiplication and an addition round twice unless the source uses fmaf, so that all devices compute the same bits.
 */
@FunctionalInterface
public interface KernelCompiler {

    /**
     * A code object (HIP) or cubin (CUDA) for the device. UserError DEVICE with the compiler's log when the source does not
     * compile, or why there is no compiler.
     */
    byte[] compile(KernelSource source, GpuDriver.DeviceInfo device);
}
