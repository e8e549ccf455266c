package dev.optgptq.gptq.testing;

import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.Packing;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;

/** Packed linears in plain Java, and what they mean. */
public final class PackedLinears {

    private PackedLinears() {}

    /**
     * Random codes and zero points, scales that F16 holds with room to move, and groups that inputs belong to in no order.
     *
     * @param arena owns its tensors
     */
    public static PackedLinear random(Arena arena, long seed, int bits, int inputs, int outputs, int groups) {
        Random random = new Random(seed);
        byte[] codes = new byte[inputs * outputs];
        for (int i = 0; i < codes.length; i++) {
            codes[i] = (byte) random.nextInt(1 << bits);
        }
        int[] zeros = new int[groups * outputs];
        float[] scales = new float[groups * outputs];
        for (int i = 0; i < scales.length; i++) {
            zeros[i] = 1 + random.nextInt((1 << bits) - 1);
            scales[i] = (16 + random.nextInt(16)) / 128f;
        }
        int[] groupOf = new int[inputs];
        for (int i = 0; i < inputs; i++) {
            groupOf[i] = (i * 7) % groups;
        }
        return pack(arena, bits, codes, zeros, scales, groupOf, outputs);
    }

    /** Symmetric, one scale per group of consecutive inputs, rounded to the nearest code: weight [out, in]. */
    public static PackedLinear nearest(Arena arena, float[] weight, int bits, int inputs, int outputs, int groupSize) {
        int groups = inputs / groupSize;
        int zero = 1 << (bits - 1);
        float[] scales = new float[groups * outputs];
        int[] zeros = new int[groups * outputs];
        byte[] codes = new byte[inputs * outputs];
        int[] groupOf = new int[inputs];
        for (int i = 0; i < inputs; i++) {
            groupOf[i] = i / groupSize;
            for (int o = 0; o < outputs; o++) {
                int at = i / groupSize * outputs + o;
                zeros[at] = zero;
                float reached = Math.abs(weight[o * inputs + i]) / (zero - 1);
                scales[at] = Math.max(scales[at], Float.float16ToFloat(Float.floatToFloat16(reached)));
            }
        }
        for (int i = 0; i < inputs; i++) {
            for (int o = 0; o < outputs; o++) {
                float steps = weight[o * inputs + i] / scales[groupOf[i] * outputs + o];
                codes[i * outputs + o] = (byte) Math.clamp((long) Math.rint(steps) + zero, 0, 2 * zero - 1);
            }
        }
        return pack(arena, bits, codes, zeros, scales, groupOf, outputs);
    }

    private static PackedLinear pack(Arena arena, int bits, byte[] codes, int[] zeros, float[] scales, int[] groupOf,
            int outputs) {
        int inputs = groupOf.length;
        int groups = zeros.length / outputs;
        MemorySegment qweight = arena.allocate((long) inputs * bits / 8 * outputs, 64);
        MemorySegment qzeros = arena.allocate((long) groups * outputs * bits / 8, 64);
        Packing.packWeights(MemorySegment.ofArray(codes), bits, inputs, outputs, qweight);
        Packing.packZeros(MemorySegment.ofArray(zeros), bits, groups, outputs, 1, qzeros);
        return new PackedLinear(bits, inputs, outputs, groups, 1, qweight, qzeros, halves(arena, scales),
                arena.allocateFrom(ValueLayout.JAVA_INT, groupOf));
    }

    /** The same codes with other scales, [G, out]. */
    public static PackedLinear withScales(Arena arena, PackedLinear linear, float[] scales) {
        return new PackedLinear(linear.bits(), linear.inputs(), linear.outputs(), linear.groups(), linear.zeroOffset(),
                linear.qweight(), linear.qzeros(), halves(arena, scales), linear.gIdx());
    }

    /** F16, rounded. */
    public static MemorySegment halves(Arena arena, float[] values) {
        MemorySegment halves = arena.allocate(2L * values.length, 64);
        for (int i = 0; i < values.length; i++) {
            halves.setAtIndex(ValueLayout.JAVA_SHORT, i, Float.floatToFloat16(values[i]));
        }
        return halves;
    }

    /** [G, out]. */
    public static float[] scales(PackedLinear linear) {
        return floats(linear.scales());
    }

    /** Of F16. */
    public static float[] floats(MemorySegment halves) {
        float[] values = new float[Math.toIntExact(halves.byteSize() / 2)];
        for (int i = 0; i < values.length; i++) {
            values[i] = Float.float16ToFloat(halves.getAtIndex(ValueLayout.JAVA_SHORT, i));
        }
        return values;
    }

    /** code - zero of every weight, [out, in]. */
    public static int[] steps(PackedLinear linear) {
        int outputs = linear.outputs();
        byte[] codes = new byte[linear.inputs() * outputs];
        int[] zeros = new int[linear.groups() * outputs];
        Packing.unpackWeights(linear.qweight(), linear.bits(), linear.inputs(), outputs, MemorySegment.ofArray(codes));
        Packing.unpackZeros(linear.qzeros(), linear.bits(), linear.groups(), outputs, linear.zeroOffset(),
                MemorySegment.ofArray(zeros));
        int[] steps = new int[codes.length];
        for (int i = 0; i < linear.inputs(); i++) {
            for (int o = 0; o < outputs; o++) {
                steps[o * linear.inputs() + i] = Byte.toUnsignedInt(codes[i * outputs + o])
                        - zeros[group(linear, i) * outputs + o];
            }
        }
        return steps;
    }

    /** The group of an input. */
    public static int group(PackedLinear linear, int input) {
        return linear.gIdx().getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, input);
    }

    /** What it computes with, [out, in]. */
    public static float[] weights(PackedLinear linear) {
        int[] steps = steps(linear);
        float[] scales = scales(linear);
        float[] weights = new float[steps.length];
        for (int at = 0; at < steps.length; at++) {
            int input = at % linear.inputs();
            weights[at] = steps[at] * scales[group(linear, input) * linear.outputs() + at / linear.inputs()];
        }
        return weights;
    }
}
