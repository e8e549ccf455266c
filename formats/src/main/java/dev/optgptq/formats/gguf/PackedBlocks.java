package dev.optgptq.formats.gguf;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.Packing;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.stream.IntStream;

/** A packed linear as rows of blocks, without requantizing: codes and scales are kept. */
final class PackedBlocks {

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle SHORTS = MethodHandles.byteArrayViewVarHandle(short[].class,
            ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle LONGS = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    /** Outputs that a thread takes at once: their pieces of a row of words are a few cache lines. */
    static final int TILE = 128;
    /** Rows whose outputs are further apart than that many times their number are taken in halves. */
    private static final int WIDEST = 4;
    /** Of a block's codes. */
    private static final int WORDS = 4;

    private final PackedLinear linear;
    private final GgufType type;
    private final GgufRows.Rows rows;
    private final int groupSize;

    private PackedBlocks(PackedLinear linear, GgufType type, GgufRows.Rows rows) {
        this.linear = linear;
        this.type = type;
        this.rows = rows;
        this.groupSize = linear.inputs() / linear.groups();
    }

    /**
     * The type that holds a linear. Throws UserError UNSUPPORTED_MODEL naming the violated rule of the format.
     *
     * @param module names it in messages
     */
    static GgufType type(String module, PackedLinear linear, boolean symmetric) {
        int groupSize = linear.inputs() / linear.groups();
        if (linear.groups() > 1 && groupSize % GgufBlocks.ELEMENTS != 0) {
            throw refused(module,
                    "groups of a multiple of 32 inputs, since a block of GGUF has one scale, found groups of "
                            + groupSize,
                    "--group-size 32");
        }
        for (int input = 0; input < linear.inputs(); input++) {
            if (linear.gIdx().get(INT, 4L * input) != input / groupSize) {
                throw refused(module, "groups of inputs that follow each other, found an activation order",
                        "--act-order static or none");
            }
        }
        if (linear.bits() == 8) {
            if (!symmetric) {
                throw refused(module, "a symmetric grid at 8 bits, found zero points", "--symmetric, or 4 bits");
            }
            return GgufType.Q8_0;
        }
        return symmetric ? GgufType.Q4_0 : GgufType.Q4_1;
    }

    private static UserError refused(String module, String expected, String remedy) {
        return new UserError(Code.UNSUPPORTED_MODEL,
                module + ": expected " + expected + "; quantize again with " + remedy);
    }

    /** Whether putWords() gives the blocks of a linear. */
    static boolean isOfWords(PackedLinear linear, GgufType type) {
        return linear.bits() == 4 && type == GgufType.Q4_0;
    }

    /**
     * Outputs of a linear as rows of a tensor, by the definition.
     *
     * @param target rows x inputs / 32 blocks, written
     */
    static void put(PackedLinear linear, GgufType type, GgufRows.Rows rows, MemorySegment target) {
        new PackedBlocks(linear, type, rows).putCodes(target);
    }

    /**
     * Some of them as Q4_0, whole words at a time.
     *
     * @param to after the last
     * @param target (to - from) x inputs / 32 blocks, written
     */
    static void putWords(PackedLinear linear, GgufRows.Rows rows, int from, int to, MemorySegment target) {
        PackedBlocks blocks = new PackedBlocks(linear, GgufType.Q4_0, rows);
        forEachTile(from, to, (first, last) -> blocks.putWords(first, last,
                target.asSlice(blocks.rowBytes() * (first - from), blocks.rowBytes() * (last - first))));
    }

    private interface Tile {
        void put(int from, int to);
    }

    private static void forEachTile(int from, int to, Tile each) {
        IntStream.range(0, Math.ceilDiv(to - from, TILE)).parallel().map(tile -> from + tile * TILE)
                .forEach(first -> each.put(first, Math.min(to, first + TILE)));
    }

    private long rowBytes() {
        return (long) linear.inputs() / GgufBlocks.ELEMENTS * type.blockBytes();
    }

    private void putCodes(MemorySegment target) {
        int outputs = linear.outputs();
        try (Arena arena = Arena.ofShared()) {
            MemorySegment codes = arena.allocate((long) linear.inputs() * outputs);
            MemorySegment zeros = arena.allocate(4L * linear.groups() * outputs, 4);
            Packing.unpackWeights(linear.qweight(), linear.bits(), linear.inputs(), outputs, codes);
            Packing.unpackZeros(linear.qzeros(), linear.bits(), linear.groups(), outputs, linear.zeroOffset(), zeros);
            forEachTile(0, rows.count(), (from, to) -> {
                for (int block = 0; block < linear.inputs() / GgufBlocks.ELEMENTS; block++) {
                    for (int row = from; row < to; row++) {
                        int output = rows.order().applyAsInt(row);
                        long inGroups = (long) block * GgufBlocks.ELEMENTS / groupSize * outputs + output;
                        long first = (long) block * GgufBlocks.ELEMENTS * outputs + output;
                        put(j -> codes.get(JAVA_BYTE, first + (long) j * outputs) & 0xff,
                                linear.scales().get(SHORT, 2 * inGroups), zeros.get(INT, 4 * inGroups), target,
                                rowBytes() * row + (long) block * type.blockBytes());
                    }
                }
            });
        }
    }

    private void put(GgufBlocks.Codes codes, short scale, int zero, MemorySegment target, long at) {
        switch (type) {
            case Q4_0 -> GgufBlocks.putQ40(codes, scale, zero, target, at);
            case Q4_1 -> GgufBlocks.putQ41(codes, scale, zero, target, at);
            case Q8_0 -> GgufBlocks.putQ80(codes, scale, zero, target, at);
            case F32, F16 -> throw new IllegalArgumentException(type + " has no blocks");
        }
    }

    /**
     * The twin of putCodes() for 4 bits: a block is 4 words of 8 codes, element j + 16 goes above element j, so words 2 and 3
     * go above words 0 and 1, nibble by nibble. Words of neighbouring outputs are copied together.
     */
    private void putWords(int from, int to, MemorySegment target) {
        int count = to - from;
        int[] outputs = IntStream.range(from, to).map(rows.order()).toArray();
        int low = Arrays.stream(outputs).min().orElseThrow();
        int span = Arrays.stream(outputs).max().orElseThrow() + 1 - low;
        if (span > WIDEST * count) {
            int half = from + count / 2;
            putWords(from, half, target.asSlice(0, rowBytes() * (half - from)));
            putWords(half, to, target.asSlice(rowBytes() * (half - from)));
            return;
        }
        int rowBytes = Math.toIntExact(rowBytes());
        byte[] bytes = new byte[count * rowBytes];
        int[][] words = new int[WORDS][span];
        short[] scales = new short[span];
        for (int block = 0; block < linear.inputs() / GgufBlocks.ELEMENTS; block++) {
            long group = (long) block * GgufBlocks.ELEMENTS / groupSize;
            MemorySegment.copy(linear.scales(), SHORT, Short.BYTES * (group * linear.outputs() + low), scales, 0, span);
            for (int i = 0; i < WORDS; i++) {
                MemorySegment.copy(linear.qweight(), INT,
                        Integer.BYTES * (((long) WORDS * block + i) * linear.outputs() + low), words[i], 0, span);
            }
            putBlocks(words, scales, outputs, low, bytes, block * type.blockBytes(), rowBytes);
        }
        MemorySegment.copy(bytes, 0, target, JAVA_BYTE, 0, bytes.length);
    }

    /** One block of every row. */
    private static void putBlocks(int[][] words, short[] scales, int[] outputs, int low, byte[] bytes, int first,
            int rowBytes) {
        int[] word0 = words[0];
        int[] word1 = words[1];
        int[] word2 = words[2];
        int[] word3 = words[3];
        for (int row = 0; row < outputs.length; row++) {
            int from = outputs[row] - low;
            int at = first + row * rowBytes;
            SHORTS.set(bytes, at, scales[from]);
            LONGS.set(bytes, at + 2, spread(word0[from]) | spread(word2[from]) << 4);
            LONGS.set(bytes, at + 10, spread(word1[from]) | spread(word3[from]) << 4);
        }
    }

    /** The 8 nibbles of a word as the lower halves of 8 bytes. */
    private static long spread(int word) {
        long x = Integer.toUnsignedLong(word);
        x = (x | x << 16) & 0x0000ffff0000ffffL;
        x = (x | x << 8) & 0x00ff00ff00ff00ffL;
        return (x | x << 4) & 0x0f0f0f0f0f0f0f0fL;
    }
}
