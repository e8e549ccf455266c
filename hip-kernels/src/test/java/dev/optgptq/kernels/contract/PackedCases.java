package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;
import static dev.optgptq.kernels.contract.Values.uniform;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.QuantOps.PackedProduct;
import dev.optgptq.kernels.ops.QuantOps.PackedWeights;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** The cases of QuantOps.linearPacked: one row and many, every code width, and the ways that inputs lie in groups. */
final class PackedCases {

    private static final int[] BITS = {2, 3, 4, 8};

    private PackedCases() {}

    /** How inputs are assigned to groups. */
    private enum Grouping {
        /** One for all inputs. */
        ONE,
        /** Neighbours share one, 32 at a time. */
        NEIGHBOURS,
        /** The usual size. */
        OF_128,
        /** Neighbours share one, but its edges lie within the 32 codes that are packed together. */
        ACROSS,
        /** Any input may have any, as act-order leaves them. */
        SCATTERED;

        private int size() {
            return switch (this) {
                case ONE -> Integer.MAX_VALUE;
                case OF_128 -> 128;
                case NEIGHBOURS, SCATTERED -> 32;
                case ACROSS -> 24;
            };
        }

        /** As a layer says it: 0 where inputs of a group are not neighbours. */
        int groupSize(long inputs) {
            return this == SCATTERED ? 0 : (int) Math.min(size(), Math.ceilDiv(inputs, 32L) * 32);
        }

        int groups(long inputs) {
            return (int) Math.ceilDiv(inputs, (long) size());
        }

        Values values(long inputs) {
            return this == SCATTERED
                    ? Values.integers(0, groups(inputs) - 1)
                    : Values.byIndex((row, i) -> Math.floorDiv(i, (long) size()));
        }
    }

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (int bits : BITS) {
            for (Grouping grouping : Grouping.values()) {
                for (int rows : new int[] {1, 2, 7, 64}) {
                    cases.add(linear(bits, grouping, rows, 96, 160, rows % 2 == 1));
                }
            }
            cases.add(linear(bits, Grouping.NEIGHBOURS, 1, 32, 32, false));
            cases.add(linear(bits, Grouping.SCATTERED, 5, 32, 32, true));
            cases.add(linear(bits, Grouping.NEIGHBOURS, 0, 32, 32, true));
            // Beyond one tile of inputs, and of outputs.
            for (int rows : new int[] {1, 3, 8, 9, 65}) {
                cases.add(linear(bits, Grouping.ACROSS, rows, 544, 288, true));
            }
        }
        for (DType half : new DType[] {DType.F16, DType.BF16}) {
            for (int bits : new int[] {2, 4, 8}) {
                for (int rows : new int[] {1, 7, 8, 9, 16, 17, 33, 64, 65, 130}) {
                    cases.add(halves(half, bits, Grouping.NEIGHBOURS, rows, 96, 160, 0));
                }
                cases.add(halves(half, bits, Grouping.OF_128, 3, 1056, 288, 1));
                cases.add(halves(half, bits, Grouping.ONE, 20, 544, 288, 0.5f));
                cases.add(halves(half, bits, Grouping.SCATTERED, 5, 96, 64, 0));
                cases.add(halves(half, bits, Grouping.ACROSS, 5, 96, 64, 1));
            }
        }
        for (DType dtype : new DType[] {DType.F16, DType.F32}) {
            for (int rows : new int[] {1, 9, 17}) {
                cases.add(together(dtype, Grouping.NEIGHBOURS, rows, 160, 64, 32, 96));
            }
            cases.add(together(dtype, Grouping.OF_128, 2, 288, 96, 64));
        }
        cases.add(linear(4, Grouping.NEIGHBOURS, 1, 2080, 64, true));
        cases.add(linear(4, Grouping.SCATTERED, 20, 2080, 64, false));
        return cases;
    }

    /** TinyLlama's up projection for one token, a few and a batch. */
    static List<OpCase> bench() {
        List<OpCase> cases = new ArrayList<>();
        long in = 2048;
        long out = 5632;
        for (int bits : BITS) {
            cases.add(linear(bits, Grouping.OF_128, 1, in, out, false).bytes(in * out * bits / 8.0));
        }
        cases.add(linear(4, Grouping.NEIGHBOURS, 1, in, out, false).bytes(in * out * 0.5));
        cases.add(linear(4, Grouping.SCATTERED, 1, in, out, false).bytes(in * out * 0.5));
        for (int rows : new int[] {2, 8, 64, 512}) {
            cases.add(linear(4, Grouping.OF_128, rows, in, out, false).flops(2.0 * rows * in * out));
        }
        // Llama-2-7B's down projection.
        for (int rows : new int[] {1, 8, 16, 64, 128}) {
            cases.add(halves(DType.F16, 4, Grouping.OF_128, rows, 11008, 4096, 0).bytes(11008 * 4096 * 0.5));
        }
        // TinyLlama's queries, keys and values.
        cases.add(together(DType.F16, Grouping.OF_128, 1, in, 2048, 256, 256).bytes(in * 2560 * 0.5));
        return cases;
    }

    private static OpCase linear(int bits, Grouping grouping, long rows, long inputs, long outputs, boolean bias) {
        return linear(DType.F32, bits, grouping, rows, inputs, outputs, bias, bias ? 0.5f : 0, Tolerance.sum(inputs));
    }

    /** Many rows may be multiplied by weights that are rounded to fp16/bf16: half a unit in the last place of each. */
    private static OpCase halves(DType dtype, int bits, Grouping grouping, long rows, long inputs, long outputs,
            float beta) {
        return linear(dtype, bits, grouping, rows, inputs, outputs, true, beta,
                new Tolerance(dtype == DType.F16 ? 0x1p-10 : 0x1p-7));
    }

    /** Several linears of the same inputs. */
    private static OpCase together(DType dtype, Grouping grouping, long rows, long inputs, int... outputs) {
        Values anyBits = (random, r, c) -> random::nextInt;
        OpCase.Builder builder = op("linearsPacked",
                dtype + " 4 bits, groups " + grouping + " [" + rows + ", " + inputs + "] to "
                        + Arrays.toString(outputs))
                .input("x", dtype, rows, inputs, normal(1))
                .input("groups", DType.I32, 1, inputs, grouping.values(inputs));
        int groups = grouping.groups(inputs);
        for (int i = 0; i < outputs.length; i++) {
            builder.input("qweight" + i, DType.I32, inputs / 8, outputs[i], anyBits)
                    .input("qzeros" + i, DType.I32, groups, outputs[i] / 8, anyBits)
                    .input("scales" + i, DType.F16, groups, outputs[i], uniform(-0.1, 0.1))
                    .input("bias" + i, DType.F32, 1, outputs[i], normal(1))
                    .output("y" + i, DType.F32, rows, outputs[i],
                            dtype == DType.F32 ? Tolerance.sum(inputs) : new Tolerance(0x1p-10));
        }
        return builder.call((device, at) -> device.quant().linearsPacked(IntStream.range(0, outputs.length)
                .mapToObj(i -> new PackedProduct(
                        new PackedWeights(4, 1, at.get("qweight" + i), at.get("qzeros" + i), at.get("scales" + i),
                                at.get("groups"), grouping.groupSize(inputs)),
                        i == 1 ? null : at.get("bias" + i), at.get("y" + i)))
                .toList(), at.get("x")));
    }

    private static OpCase linear(DType dtype, int bits, Grouping grouping, long rows, long inputs, long outputs,
            boolean bias, float beta, Tolerance tolerance) {
        Values anyBits = (random, r, c) -> random::nextInt;
        int groups = grouping.groups(inputs);
        int zeroOffset = bias ? 0 : 1;
        return op("linearPacked",
                (dtype == DType.F32 ? "" : dtype + " ") + bits + " bits, groups " + grouping + " [" + rows + ", "
                        + inputs + "] to " + outputs
                        + (bias ? " with bias" : "") + (beta == 0 ? "" : ", beta " + beta))
                .input("x", dtype, rows, inputs, normal(1))
                .input("qweight", DType.I32, inputs * bits / 32, outputs, anyBits)
                .input("qzeros", DType.I32, groups, outputs * bits / 32, anyBits)
                .input("scales", DType.F16, groups, outputs, uniform(-0.1, 0.1))
                .input("groups", DType.I32, 1, inputs, grouping.values(inputs))
                .input("bias", DType.F32, 1, outputs, normal(1))
                .inPlace("y", DType.F32, rows, outputs, beta == 0 ? Values.garbage() : normal(1), tolerance)
                .call((device, at) -> device.quant()
                        .linearPacked(
                                new PackedWeights(bits, zeroOffset, at.get("qweight"), at.get("qzeros"),
                                        at.get("scales"), at.get("groups"),
                                        grouping.groupSize(inputs)),
                                at.get("x"), bias ? at.get("bias") : null, beta, at.get("y")));
    }
}
