package dev.optgptq.kernels.gpu;

import dev.optgptq.kernels.gpu.driver.GpuDriver;
import org.jspecify.annotations.Nullable;

/** One function of a compiled kernel source, on one device. */
public final class Kernel {

    /** The least that every device allows in the y and z directions; x goes to 2^31 - 1. */
    public static final int MAX_GRID_YZ = 65535;

    private final GpuContext context;
    private final String name;
    private final long function;

    Kernel(GpuContext context, String name, long function) {
        this.context = context;
        this.name = name;
        this.function = function;
    }

    /** A launch in one direction. */
    public void launch(long gridX, int blockX, int sharedBytes, @Nullable Object... arguments) {
        launchGrid(gridX, 1, 1, blockX, sharedBytes, arguments);
    }

    /**
     * Starts the kernel on the context's stream and returns at once; later launches and copies of this context come
     * after it. A grid without blocks starts nothing.
     *
     * @param gridX blocks, gridY and gridZ at most {@link #MAX_GRID_YZ}
     * @param blockX threads of a block, a multiple of the wave width
     * @param sharedBytes dynamic shared memory
     * @param arguments in the kernel's order: a Tensor is the address of its element (0, 0), null a null pointer; Integer,
     *     Long, Float and Double are int, long long, float and double. They are not checked against the kernel's signature; a tensor
     *     must live in this device's memory.
     */
    public void launchGrid(long gridX, long gridY, long gridZ, int blockX, int sharedBytes,
            @Nullable Object... arguments) {
        if (gridX == 0 || gridY == 0 || gridZ == 0) {
            return;
        }
        if (gridX < 0 || gridX > Integer.MAX_VALUE || gridY < 0 || gridY > MAX_GRID_YZ || gridZ < 0
                || gridZ > MAX_GRID_YZ || blockX < 1) {
            throw new IllegalArgumentException(
                    name + ": bad grid " + gridX + " x " + gridY + " x " + gridZ + " of " + blockX);
        }
        context.launch(name, function, new GpuDriver.Grid((int) gridX, (int) gridY, (int) gridZ, blockX), sharedBytes,
                arguments);
    }

    @Override
    public String toString() {
        return name;
    }
}
