package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.blas.DoubleBlas;
import dev.optgptq.kernels.blas.OpenBlas;
import dev.optgptq.kernels.cpu.cache.CpuCacheOps;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.quant.CpuQuantOps;
import dev.optgptq.kernels.cpu.quant.CpuTuningOps;
import dev.optgptq.kernels.host.HostDevice;
import dev.optgptq.kernels.host.HostMemory;
import jdk.incubator.vector.FloatVector;

/** The CPU at full speed: every core, the widest vectors, OpenBLAS for matmuls. */
public final class CpuDevice {

    private CpuDevice() {}

    /**
     * Opens it with its own worker threads, which end when it is closed. UserError DEVICE when OpenBLAS cannot be loaded.
     *
     * @param threads at least 1; results do not depend on it
     */
    public static Device open(int threads) {
        VectorModule.load();
        OpenBlas blas = OpenBlas.load();
        DoubleBlas doubles = DoubleBlas.load();
        HostMemory memory = new HostMemory();
        Parallel parallel = new Parallel(threads);
        CpuBfloat16 bfloat16 = new CpuBfloat16(parallel);
        return new HostDevice("cpu", description(threads, blas), arithmetic(blas), bfloat16, memory,
                new CpuNeuralOps(parallel, memory::arena),
                new CpuMatrixOps(blas, doubles, bfloat16, parallel, memory::arena), new CpuQuantOps(parallel),
                new CpuGradientOps(parallel, memory::arena), new CpuTuningOps(parallel), new CpuMixtureOps(parallel),
                new CpuDeltaOps(parallel), new CpuCacheOps(parallel),
                new CpuFloat64Ops(doubles, parallel),
                parallel::close);
    }

    /** One line for people: CPU, threads, vector width, library. UserError DEVICE as for open. */
    public static String description(int threads) {
        VectorModule.load();
        return description(threads, OpenBlas.load());
    }

    private static String description(int threads, OpenBlas blas) {
        return architecture() + ", " + threads + (threads == 1 ? " thread, " : " threads, ") + units(blas);
    }

    private static String arithmetic(OpenBlas blas) {
        return architecture() + ", " + units(blas);
    }

    private static String architecture() {
        return System.getProperty("os.arch");
    }

    private static String units(OpenBlas blas) {
        return FloatVector.SPECIES_PREFERRED.vectorBitSize() + "-bit vectors, " + blas.description();
    }
}
