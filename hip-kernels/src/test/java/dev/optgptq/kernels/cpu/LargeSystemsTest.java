package dev.optgptq.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Float64Ops.solve on the CPU where it takes several tiles and threads. */
class LargeSystemsTest {

    private static final Device CPU = Devices.open("cpu", 2);

    @AfterAll
    static void close() {
        CPU.close();
    }

    private static Tensor load(TensorArena arena, int rows, int columns, double[] values) {
        return arena.load(MemorySegment.ofArray(values), DType.F64, rows, columns);
    }

    /** Row by row: 1 / (1 + |i - j|), n on the diagonal. */
    private static double[] system(int n) {
        double[] a = new double[n * n];
        for (int i = 0; i < n * n; i++) {
            a[i] = i / n == i % n ? n : 1.0 / (1 + Math.abs(i / n - i % n));
        }
        return a;
    }

    /** Sizes around those of a tile and of a panel of right-hand sides. */
    @ParameterizedTest
    @CsvSource({"511, 3", "513, 257", "1030, 2"})
    void largeSystemsAreSolvedInTiles(int n, int columns) {
        try (TensorArena arena = CPU.arena()) {
            Tensor a = load(arena, n, n, system(n));
            double[] wanted = new double[n * columns];
            for (int i = 0; i < wanted.length; i++) {
                wanted[i] = Math.sin(i);
            }
            Tensor b = arena.matrix(DType.F64, n, columns);
            CPU.float64().multiply(1, a, false, load(arena, n, columns, wanted), false, 0, b);

            assertTrue(CPU.float64().solve(a, b));

            double[] found = new double[wanted.length];
            CPU.download(b, MemorySegment.ofArray(found));
            for (int i = 0; i < found.length; i++) {
                assertEquals(wanted[i], found[i], 1e-11, "element " + i);
            }
        }
    }

    @Test
    void anIndefiniteSystemIsFoundInItsLastTile() {
        int n = 1100;
        double[] a = system(n);
        a[n * n - 1] = -1;
        try (TensorArena arena = CPU.arena()) {
            assertFalse(CPU.float64().solve(load(arena, n, n, a), arena.matrix(DType.F64, n, 1)));
        }
    }
}
