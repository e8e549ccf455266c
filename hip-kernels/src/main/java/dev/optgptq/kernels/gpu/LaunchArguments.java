package dev.optgptq.kernels.gpu;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * The arguments of one launch as the drivers take them: an array of pointers to values. The same buffer serves every launch,
 * since a driver copies the values before it returns.
 */
final class LaunchArguments {

    private static final int MOST = 64;

    // Automatic, as threads may take turns with a context.
    private final MemorySegment values = Arena.ofAuto().allocate(JAVA_LONG, MOST);
    private final MemorySegment pointers = Arena.ofAuto().allocate(ADDRESS, MOST);

    LaunchArguments() {
        for (int i = 0; i < MOST; i++) {
            pointers.setAtIndex(ADDRESS, i, values.asSlice(8L * i, 8));
        }
    }

    MemorySegment pack(String kernel, GpuMemory memory, @Nullable Object[] arguments) {
        if (arguments.length > MOST) {
            throw new IllegalArgumentException(kernel + ": " + arguments.length + " arguments, at most " + MOST);
        }
        for (int i = 0; i < arguments.length; i++) {
            switch (arguments[i]) {
                case null -> values.setAtIndex(JAVA_LONG, i, 0);
                case Tensor tensor -> values.setAtIndex(JAVA_LONG, i, memory.address(tensor));
                case Integer value -> values.set(JAVA_INT, 8L * i, value);
                case Long value -> values.setAtIndex(JAVA_LONG, i, value);
                case Float value -> values.set(JAVA_FLOAT, 8L * i, value);
                case Double value -> values.set(JAVA_DOUBLE, 8L * i, value);
                default -> throw new IllegalArgumentException(
                        kernel + ": argument " + i + " is a " + arguments[i].getClass());
            }
        }
        return pointers;
    }
}
