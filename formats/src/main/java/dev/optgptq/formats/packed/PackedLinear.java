package dev.optgptq.formats.packed;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * The packed tensors of one linear layer in GPTQ layout (in = inputs, out = outputs, b = bits, G = groups), all
 * little-endian:
 *
 * @param bits 2, 3, 4 or 8
 * @param inputs a multiple of 32
 * @param outputs a multiple of 32
 * @param groups number of groups
 * @param zeroOffset added to every stored zero point: 1 for v1, 0 for v2
 * @param qweight int32 [in * b / 32, out]: a little-endian stream of codes along the inputs
 * @param qzeros int32 [G, out * b / 32]
 * @param scales float16 [G, out]
 * @param gIdx int32 [in], each in [0, G)
 */
public record PackedLinear(int bits, int inputs, int outputs, int groups, int zeroOffset, MemorySegment qweight,
        MemorySegment qzeros, MemorySegment scales, MemorySegment gIdx) {

    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** The bytes of a part. */
    public MemorySegment part(PackedPart part) {
        return switch (part) {
            case CODES -> qweight;
            case ZEROS -> qzeros;
            case SCALES -> scales;
            case GROUPS -> gIdx;
        };
    }

    /** The same with zero points stored minus another number. */
    public PackedLinear withZeroOffset(int offset) {
        if (offset == zeroOffset) {
            return this;
        }
        MemorySegment points = Arena.ofAuto().allocate((long) groups * outputs * Integer.BYTES, Integer.BYTES);
        MemorySegment stored = Arena.ofAuto().allocate(qzeros.byteSize(), Integer.BYTES);
        Packing.unpackZeros(qzeros, bits, groups, outputs, zeroOffset, points);
        Packing.packZeros(points, bits, groups, outputs, offset, stored);
        return new PackedLinear(bits, inputs, outputs, groups, offset, qweight, stored, scales, gIdx);
    }

    /** Whether every zero point is 2^(bits-1). */
    public boolean hasSymmetricZeros() {
        int[] words = Packing.symmetricZeroWords(bits, zeroOffset);
        for (long i = 0; i < qzeros.byteSize() / Integer.BYTES; i++) {
            if (qzeros.get(INT, i * Integer.BYTES) != words[(int) (i % words.length)]) {
                return false;
            }
        }
        return true;
    }

    /** Whether zero points are those of another linear of the same scales, wherever a scale is not 0 and they count. */
    public boolean hasZerosOf(PackedLinear other) {
        int count = groups * outputs;
        int[] points = new int[count];
        int[] others = new int[count];
        Packing.unpackZeros(qzeros, bits, groups, outputs, zeroOffset, MemorySegment.ofArray(points));
        Packing.unpackZeros(other.qzeros, bits, groups, outputs, other.zeroOffset, MemorySegment.ofArray(others));
        for (int i = 0; i < count; i++) {
            boolean counts = (scales.get(SHORT, (long) i * Short.BYTES) & Short.MAX_VALUE) != 0;
            if (counts && points[i] != others[i]) {
                return false;
            }
        }
        return true;
    }

    /** Whether the inputs of every group follow each other. */
    public boolean hasNeighboursInGroups() {
        for (int input = 0; input < inputs; input++) {
            if (gIdx.get(INT, (long) input * Integer.BYTES) != input / (inputs / groups)) {
                return false;
            }
        }
        return true;
    }

    /** The same with other scales. */
    public PackedLinear withScales(MemorySegment others) {
        return new PackedLinear(bits, inputs, outputs, groups, zeroOffset, qweight, qzeros, others, gIdx);
    }
}
