package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.blas.OpenBlas;
import dev.optgptq.kernels.host.HostDevice;
import dev.optgptq.kernels.host.HostMemory;
import jdk.incubator.vector.FloatVector;

/** The processor at its full speed: every core, the widest vectors, OpenBLAS for matrix products. */
public final class CpuDevice {

    private CpuDevice() {}

    /**
     * Opens it with its own worker threads, which end when it is closed. UserError DEVICE when OpenBLAS cannot be loaded.
     *
     * @param threads at least 1; results do not depend on it
     */
    public static Device open(int threads) {
        OpenBlas blas = OpenBlas.load();
        HostMemory memory = new HostMemory();
        Parallel parallel = new Parallel(threads);
        return new HostDevice("cpu", description(threads, blas), memory, new CpuNeuralOps(parallel, memory::arena),
                new CpuMatrixOps(blas, parallel, memory::arena), new CpuQuantOps(parallel),
                new CpuGradientOps(parallel, memory::arena), parallel::close);
    }

    /** One line for people: processor, threads, vector width, library. UserError DEVICE as for open. */
    public static String description(int threads) {
        return description(threads, OpenBlas.load());
    }

    private static String description(int threads, OpenBlas blas) {
        return System.getProperty("os.arch") + ", " + threads + (threads == 1 ? " thread, " : " threads, ")
                + FloatVector.SPECIES_PREFERRED.vectorBitSize() + "-bit vectors, " + blas.description();
    }
}
