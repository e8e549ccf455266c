package dev.optgptq.kernels.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ProductCheckTest {

    @ParameterizedTest
    @EnumSource(names = {"F32", "F16", "BF16"})
    void a_library_is_trusted_with_the_dtypes_that_it_multiplies_rightly(DType dtype) {
        for (Set<DType> wrong : Set.of(Set.<DType>of(), Set.of(dtype))) {
            try (EmulatedContext emulated = EmulatedContext.open()) {
                assertEquals(wrong.isEmpty(),
                        ProductCheck.passes(emulated.context(), new PlainProducts(emulated.context(), wrong), dtype),
                        () -> "wrong: " + wrong);
            }
        }
    }

    /** A library on the emulator's memory, which the CPU can reach: plain loops, off by a bit where told. */
    private record PlainProducts(GpuContext context, Set<DType> wrong) implements GpuBlas {

        @Override
        public String description() {
            return "plain loops";
        }

        @Override
        public void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta,
                Tensor c) {
            context.synchronize(); // a library would have its stream wait
            long inner = transposeA ? a.rows() : a.columns();
            for (long i = 0; i < c.rows(); i++) {
                for (long j = 0; j < c.columns(); j++) {
                    float sum = wrong.contains(a.dtype()) && i == j ? 1 : 0;
                    for (long k = 0; k < inner; k++) {
                        sum += (transposeA ? get(a, k, i) : get(a, i, k)) * (transposeB ? get(b, j, k) : get(b, k, j));
                    }
                    reach(c).setAtIndex(ValueLayout.JAVA_FLOAT, i * c.stride() + j, alpha * sum);
                }
            }
        }

        @Override
        public void gemm64(double alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, double beta,
                Tensor c) {
            throw new UnsupportedOperationException("float64 is not checked");
        }

        @Override
        public void gemmStrided(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta,
                Tensor c, Batch batch) {
            throw new UnsupportedOperationException("one product tells");
        }

        private static float get(Tensor tensor, long row, long column) {
            long index = row * tensor.stride() + column;
            return switch (tensor.dtype()) {
                case F16 -> Float.float16ToFloat(reach(tensor).getAtIndex(ValueLayout.JAVA_SHORT, index));
                case BF16 -> Float
                        .intBitsToFloat(reach(tensor).getAtIndex(ValueLayout.JAVA_SHORT, index) << 16);
                default -> reach(tensor).getAtIndex(ValueLayout.JAVA_FLOAT, index);
            };
        }

        private static MemorySegment reach(Tensor tensor) {
            return tensor.memory();
        }

        @Override
        public void close() {
            // holds nothing
        }
    }
}
