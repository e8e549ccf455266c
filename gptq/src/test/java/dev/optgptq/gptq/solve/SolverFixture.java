package dev.optgptq.gptq.solve;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;

/** Random but realistic problems for the solver, and ways to look at its results. */
final class SolverFixture {

    private SolverFixture() {}

    static Tensor tensor(Device device, TensorArena arena, double[][] values) {
        int rows = values.length;
        int columns = values[0].length;
        Tensor tensor = arena.matrix(DType.F32, rows, columns);
        try (Arena host = Arena.ofConfined()) {
            MemorySegment bytes = host.allocate(ValueLayout.JAVA_FLOAT, (long) rows * columns);
            for (int r = 0; r < rows; r++) {
                for (int c = 0; c < columns; c++) {
                    bytes.setAtIndex(ValueLayout.JAVA_FLOAT, (long) r * columns + c, (float) values[r][c]);
                }
            }
            device.upload(bytes, tensor);
        }
        return tensor;
    }

    /** Codes as [out][in]. */
    static int[][] codes(Device device, QuantizedWeight weight) {
        int inputs = (int) weight.codes().rows();
        int outputs = (int) weight.codes().columns();
        int[][] codes = new int[outputs][inputs];
        try (Arena host = Arena.ofConfined()) {
            MemorySegment bytes = host.allocate((long) inputs * outputs);
            device.download(weight.codes(), bytes);
            for (int i = 0; i < inputs; i++) {
                for (int o = 0; o < outputs; o++) {
                    codes[o][i] = bytes.get(ValueLayout.JAVA_BYTE, (long) i * outputs + o) & 0xff;
                }
            }
        }
        return codes;
    }

    static int[] gIdx(Device device, QuantizedWeight weight) {
        return ints(device, weight.groupOf())[0];
    }

    static int[][] ints(Device device, Tensor tensor) {
        int rows = (int) tensor.rows();
        int columns = (int) tensor.columns();
        try (Arena host = Arena.ofConfined()) {
            MemorySegment bytes = host.allocate(ValueLayout.JAVA_INT, tensor.elements());
            device.download(tensor, bytes);
            int[] all = bytes.toArray(ValueLayout.JAVA_INT);
            return IntStream.range(0, rows)
                    .mapToObj(row -> Arrays.copyOfRange(all, row * columns, (row + 1) * columns))
                    .toArray(int[][]::new);
        }
    }

    /** [group][out]. */
    static float[][] scales(Device device, QuantizedWeight weight) {
        return floats(device, weight.scales());
    }

    static float[][] floats(Device device, Tensor tensor) {
        int rows = (int) tensor.rows();
        int columns = (int) tensor.columns();
        float[][] values = new float[rows][columns];
        try (Arena host = Arena.ofConfined()) {
            MemorySegment bytes = host.allocate(ValueLayout.JAVA_FLOAT, (long) rows * columns);
            device.download(tensor, bytes);
            for (int r = 0; r < rows; r++) {
                for (int c = 0; c < columns; c++) {
                    values[r][c] = bytes.getAtIndex(ValueLayout.JAVA_FLOAT, (long) r * columns + c);
                }
            }
        }
        return values;
    }

    static double[][] gaussian(Random random, int rows, int columns) {
        double[][] values = new double[rows][columns];
        for (double[] row : values) {
            for (int c = 0; c < columns; c++) {
                row[c] = (float) random.nextGaussian();
            }
        }
        return values;
    }

    /** 2/N X^T X of correlated inputs whose energies differ by an order of magnitude. */
    static double[][] hessian(Random random, int inputs, int tokens) {
        double[][] mix = gaussian(random, inputs, inputs);
        double[][] h = new double[inputs][inputs];
        for (int t = 0; t < tokens; t++) {
            double[] z = gaussian(random, 1, inputs)[0];
            double[] x = new double[inputs];
            for (int i = 0; i < inputs; i++) {
                x[i] = z[i] * (1 + 3.0 * i / inputs);
                for (int j = 0; j < inputs; j++) {
                    x[i] += 0.3 / Math.sqrt(inputs) * mix[i][j] * z[j];
                }
            }
            for (int i = 0; i < inputs; i++) {
                for (int j = 0; j < inputs; j++) {
                    h[i][j] += 2.0 / tokens * x[i] * x[j];
                }
            }
        }
        return h;
    }
}
