package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.host.HostDevice;
import dev.optgptq.kernels.host.HostMemory;

/** The device that defines every op: scalar loops that read like the equations, one thread, float64 accumulation. */
public final class ReferenceDevice {

    private ReferenceDevice() {}

    /** Opens it; it needs nothing. */
    public static Device open() {
        return new HostDevice("reference", description(), description(), HostDevice.HalfMatmuls.NONE, new HostMemory(),
                new ReferenceNeuralOps(),
                new ReferenceMatrixOps(),
                new ReferenceQuantOps(), new ReferenceGradientOps(), new ReferenceTuningOps(),
                new ReferenceMixtureOps(), new ReferenceDeltaOps(), new ReferenceCacheOps(), new ReferenceFloat64Ops(),
                () -> {});
    }

    /** One line for people. */
    public static String description() {
        return "scalar loops with float64 accumulation, one thread; slow, defines what every device computes";
    }
}
