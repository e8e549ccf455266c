package dev.optgptq.kernels;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.gpu.GpuDevice;
import dev.optgptq.kernels.reference.ReferenceDevice;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.function.BiConsumer;

/** A quick check that a device computes the same as the reference: one matmul and one sum. */
public final class SelfTest {

    private static final int M = 67;
    private static final int N = 130;
    private static final int K = 259;
    /** Of the largest element: float32 sums of 259 products, in any order. */
    private static final double TOLERANCE = 1e-5;
    private static final long SEED = 1;

    private SelfTest() {}

    /**
     * The result.
     *
     * @param detail for people: the largest differences, relative to the largest element
     */
    public record Result(boolean passed, String detail) {}

    /** Runs it; a GPU compiles the kernels it needs first. UserError as the ops throw it. */
    public static Result run(Device device) {
        try (Device reference = ReferenceDevice.open()) {
            double product = difference(device, reference, SelfTest::product, DType.F32, M, N);
            double sum = difference(device, reference, SelfTest::sum, DType.F64, 1, 1);
            boolean passed = product <= TOLERANCE && sum <= TOLERANCE;
            return new Result(passed, String.format(Locale.ROOT, "%s (differences: matmul %.1e, sum %.1e)%s",
                    passed ? "passed" : "FAILED", product, sum, bfloat16(device)));
        }
    }

    /** Wrong bfloat16 matmuls of a library are not a failure, since there is our own kernel; but they are reported. */
    private static String bfloat16(Device device) {
        if (!(device instanceof GpuDevice gpu) || gpu.context().blas() == null) {
            return "";
        }
        return gpu.context().trustsProducts(DType.BF16)
                ? ", bfloat16 matmul right"
                : ", bfloat16 matmul WRONG: the library is not used for it";
    }

    private static void product(Device device, Tensor[] operands) {
        device.matrix().gemm(1, operands[0], false, operands[1], true, 0, operands[2]);
    }

    private static void sum(Device device, Tensor[] operands) {
        device.matrix().dot(operands[0], operands[0], operands[2]);
    }

    private static double difference(Device device, Device reference, BiConsumer<Device, Tensor[]> op, DType dtype,
            long rows, long columns) {
        double[] expected = compute(reference, op, dtype, rows, columns);
        double[] actual = compute(device, op, dtype, rows, columns);
        double largest = 0;
        double difference = 0;
        for (int i = 0; i < expected.length; i++) {
            largest = Math.max(largest, Math.abs(expected[i]));
            // Math.max passes NaN on, which no tolerance accepts.
            difference = Math.max(difference, Math.abs(actual[i] - expected[i]));
        }
        return difference / largest;
    }

    private static double[] compute(Device device, BiConsumer<Device, Tensor[]> op, DType dtype, long rows,
            long columns) {
        try (TensorArena arena = device.arena(); Arena host = Arena.ofConfined()) {
            Tensor[] operands = {arena.matrix(DType.F32, M, K), arena.matrix(DType.F32, N, K),
                    arena.matrix(dtype, rows, columns)};
            SplittableRandom random = new SplittableRandom(SEED);
            for (int i = 0; i < 2; i++) {
                MemorySegment values = host.allocate(operands[i].elements() * 4, 4);
                for (long j = 0; j < operands[i].elements(); j++) {
                    values.setAtIndex(ValueLayout.JAVA_FLOAT, j, (float) random.nextDouble(-1, 1));
                }
                device.upload(values, operands[i]);
            }
            op.accept(device, operands);
            MemorySegment result = host.allocate(rows * columns * dtype.bytes(), 8);
            device.download(operands[2], result);
            double[] numbers = new double[Math.toIntExact(rows * columns)];
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = dtype == DType.F64
                        ? result.getAtIndex(ValueLayout.JAVA_DOUBLE, i)
                        : result.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            }
            return numbers;
        }
    }
}
