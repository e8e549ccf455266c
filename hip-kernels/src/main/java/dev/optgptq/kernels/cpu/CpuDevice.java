package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.host.HostDevice;
import jdk.incubator.vector.FloatVector;

/** The processor at its full speed: every core, the widest vectors, OpenBLAS for matrix products. */
public final class CpuDevice {

    private CpuDevice() {}

    /**
     * Opens it with its own worker threads, which end when it is closed.
     *
     * @param threads at least 1; results do not depend on it
     */
    public static Device open(int threads) {
        Parallel parallel = new Parallel(threads);
        return new HostDevice("cpu", description(threads), new CpuNeuralOps(parallel), new CpuMatrixOps(),
                new CpuQuantOps(), parallel::close);
    }

    /** One line for people: processor, threads, vector width. */
    public static String description(int threads) {
        return System.getProperty("os.arch") + ", " + threads + (threads == 1 ? " thread, " : " threads, ")
                + FloatVector.SPECIES_PREFERRED.vectorBitSize() + "-bit vectors";
    }
}
