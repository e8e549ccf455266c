package dev.optgptq.formats.gguf;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.Packing;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.stream.IntStream;

/** A packed linear as rows of blocks, without requantizing: codes and scales are kept. */
final class PackedBlocks {

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    /** Outputs that a thread takes at once: their pieces of a row of words are a few cache lines. */
    private static final int TILE = 64;

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

    /**
     * Outputs of a linear as rows of a tensor.
     *
     * @param target rows x inputs / 32 blocks, written
     */
    static void put(PackedLinear linear, GgufType type, GgufRows.Rows rows, MemorySegment target) {
        PackedBlocks blocks = new PackedBlocks(linear, type, rows);
        if (linear.bits() == 4 && type == GgufType.Q4_0) {
            blocks.putWords(target);
        } else {
            blocks.putCodes(target);
        }
    }

    /** By the definition, for every width. */
    static void define(PackedLinear linear, GgufType type, GgufRows.Rows rows, MemorySegment target) {
        new PackedBlocks(linear, type, rows).putCodes(target);
    }

    private void putCodes(MemorySegment target) {
        int outputs = linear.outputs();
        try (Arena arena = Arena.ofShared()) {
            MemorySegment codes = arena.allocate((long) linear.inputs() * outputs);
            MemorySegment zeros = arena.allocate(4L * linear.groups() * outputs, 4);
            Packing.unpackWeights(linear.qweight(), linear.bits(), linear.inputs(), outputs, codes);
            Packing.unpackZeros(linear.qzeros(), linear.bits(), linear.groups(), outputs, linear.zeroOffset(), zeros);
            forEachTile((row, block) -> {
                int output = rows.order().applyAsInt(row);
                long inGroups = (long) block * GgufBlocks.ELEMENTS / groupSize * outputs + output;
                long first = (long) block * GgufBlocks.ELEMENTS * outputs + output;
                put(j -> codes.get(JAVA_BYTE, first + (long) j * outputs) & 0xff,
                        linear.scales().get(SHORT, 2 * inGroups), zeros.get(INT, 4 * inGroups), target,
                        place(row, block));
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
     * go above words 0 and 1, nibble by nibble.
     */
    private void putWords(MemorySegment target) {
        long outputs = linear.outputs();
        MemorySegment words = linear.qweight();
        forEachTile((row, block) -> {
            int output = rows.order().applyAsInt(row);
            long at = 4 * (4L * block * outputs + output);
            long group = (long) block * GgufBlocks.ELEMENTS / groupSize;
            long to = place(row, block);
            target.set(SHORT, to, linear.scales().get(SHORT, 2 * (group * outputs + output)));
            target.set(LONG, to + 2, spread(words.get(INT, at)) | spread(words.get(INT, at + 8 * outputs)) << 4);
            target.set(LONG, to + 10,
                    spread(words.get(INT, at + 4 * outputs)) | spread(words.get(INT, at + 12 * outputs)) << 4);
        });
    }

    /** The 8 nibbles of a word as the lower halves of 8 bytes. */
    private static long spread(int word) {
        long x = Integer.toUnsignedLong(word);
        x = (x | x << 16) & 0x0000ffff0000ffffL;
        x = (x | x << 8) & 0x00ff00ff00ff00ffL;
        return (x | x << 4) & 0x0f0f0f0f0f0f0f0fL;
    }

    private long place(int row, int block) {
        return ((long) row * (linear.inputs() / GgufBlocks.ELEMENTS) + block) * type.blockBytes();
    }

    private interface Block {
        void put(int row, int block);
    }

    private void forEachTile(Block each) {
        IntStream.range(0, Math.ceilDiv(rows.count(), TILE)).parallel().forEach(tile -> {
            for (int block = 0; block < linear.inputs() / GgufBlocks.ELEMENTS; block++) {
                for (int row = tile * TILE; row < Math.min(rows.count(), (tile + 1) * TILE); row++) {
                    each.put(row, block);
                }
            }
        });
    }
}
