package dev.optgptq.formats.packed;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * The fast twins of the formats' definitions: whole words are moved, and no code is looked at alone. A stream of codes along the
 * inputs has the same words in GPTQ's and in compressed-tensors' layout, in transposed order.
 */
final class Repacking {

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    /** Words of a tile's side: 16 make a cache line. */
    private static final int TILE = 16;
    private static final int NIBBLES = 8;
    private static final int NIBBLE = 15;
    private static final int LOW_NIBBLES = 0x0f0f0f0f;

    private Repacking() {}

    /**
     * int32 [rows, columns] to [columns, rows].
     *
     * @param flipped bits that are inverted in every word: 0x80808080 makes bytes signed
     */
    static void transposeWords(MemorySegment from, int rows, int columns, int flipped, MemorySegment to) {
        for (int row = 0; row < rows; row += TILE) {
            for (int column = 0; column < columns; column += TILE) {
                transposeTile(from, rows, columns, row, column, flipped, to);
            }
        }
    }

    private static void transposeTile(MemorySegment from, int rows, int columns, int firstRow, int firstColumn,
            int flipped, MemorySegment to) {
        int lastRow = Math.min(rows, firstRow + TILE);
        int lastColumn = Math.min(columns, firstColumn + TILE);
        for (int column = firstColumn; column < lastColumn; column++) {
            long source = 4L * ((long) firstRow * columns + column);
            long target = 4L * ((long) column * rows + firstRow);
            for (int row = firstRow; row < lastRow; row++) {
                to.set(INT, target, from.get(INT, source) ^ flipped);
                source += 4L * columns;
                target += 4;
            }
        }
    }

    /** Exchanges the two nibbles of every byte. */
    static void swapNibbles(MemorySegment words) {
        for (long at = 0; at < words.byteSize(); at += Integer.BYTES) {
            int word = words.get(INT, at);
            words.set(INT, at, ((word & LOW_NIBBLES) << 4) | ((word >>> 4) & LOW_NIBBLES));
        }
    }

    /** float16 [rows, columns] to [columns, rows]. */
    static void transposeHalves(MemorySegment from, int rows, int columns, MemorySegment to) {
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column++) {
                to.set(SHORT, 2 * ((long) column * rows + row), from.get(SHORT, 2 * ((long) row * columns + column)));
            }
        }
    }

    /**
     * 4-bit codes, a word for 8 inputs of an output, to a word for 8 outputs of an input.
     *
     * @param from int32 [inputs / 8, outputs]
     * @param order the place of each of 8 outputs in a word
     * @param to int32 [inputs, outputs / 8]
     */
    static void inputsToOutputs(MemorySegment from, int inputs, int outputs, int[] order, MemorySegment to) {
        int[] words = new int[NIBBLES];
        for (int input = 0; input < inputs; input += NIBBLES) {
            long row = (long) input / NIBBLES * outputs;
            for (int output = 0; output < outputs; output += NIBBLES) {
                for (int i = 0; i < NIBBLES; i++) {
                    int word = from.get(INT, 4 * (row + output + i));
                    for (int j = 0; j < NIBBLES; j++) {
                        words[j] |= ((word >>> (4 * j)) & NIBBLE) << (4 * order[i]);
                    }
                }
                for (int j = 0; j < NIBBLES; j++) {
                    to.set(INT, 4 * ((long) (input + j) * (outputs / NIBBLES) + output / NIBBLES), words[j]);
                    words[j] = 0;
                }
            }
        }
    }

    /** The inverse of inputsToOutputs. */
    static void outputsToInputs(MemorySegment from, int inputs, int outputs, int[] order, MemorySegment to) {
        int[] words = new int[NIBBLES];
        for (int input = 0; input < inputs; input += NIBBLES) {
            long row = (long) input / NIBBLES * outputs;
            for (int output = 0; output < outputs; output += NIBBLES) {
                for (int j = 0; j < NIBBLES; j++) {
                    int word = from.get(INT, 4 * ((long) (input + j) * (outputs / NIBBLES) + output / NIBBLES));
                    for (int i = 0; i < NIBBLES; i++) {
                        words[i] |= ((word >>> (4 * order[i])) & NIBBLE) << (4 * j);
                    }
                }
                for (int i = 0; i < NIBBLES; i++) {
                    to.set(INT, 4 * (row + output + i), words[i]);
                    words[i] = 0;
                }
            }
        }
    }

    /** Moves nibble i of every word to place order[i]. */
    static void scatterNibbles(MemorySegment from, int[] order, MemorySegment to) {
        for (long at = 0; at < from.byteSize(); at += Integer.BYTES) {
            int word = from.get(INT, at);
            int moved = 0;
            for (int i = 0; i < NIBBLES; i++) {
                moved |= ((word >>> (4 * i)) & NIBBLE) << (4 * order[i]);
            }
            to.set(INT, at, moved);
        }
    }

    /** The inverse of scatterNibbles. */
    static void gatherNibbles(MemorySegment from, int[] order, MemorySegment to) {
        for (long at = 0; at < from.byteSize(); at += Integer.BYTES) {
            int word = from.get(INT, at);
            int moved = 0;
            for (int i = 0; i < NIBBLES; i++) {
                moved |= ((word >>> (4 * order[i])) & NIBBLE) << (4 * i);
            }
            to.set(INT, at, moved);
        }
    }
}
