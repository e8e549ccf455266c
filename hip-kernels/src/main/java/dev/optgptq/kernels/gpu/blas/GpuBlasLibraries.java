package dev.optgptq.kernels.gpu.blas;

import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;

/** Finds the matrix library that belongs to a driver. */
public final class GpuBlasLibraries {

    private GpuBlasLibraries() {}

    /** On the context's device and stream. UserError DEVICE when there is none, with the reason. */
    public static GpuBlas open(GpuContext context) {
        context.activate();
        return new RowMajorBlas(context, context.driver().api().equals("hip")
                ? new RocBlas(context.stream())
                : new CuBlas(context.stream()));
    }
}
