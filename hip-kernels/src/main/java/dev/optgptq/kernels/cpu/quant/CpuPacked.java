package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.quant.Panel.WIDTH;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.CpuCopies;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.QuantOps.PackedWeights;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/** The packed layout of formats.packed, a panel of outputs at a time: shifts are then the same for a whole row. */
final class CpuPacked {

    private CpuPacked() {}

    static void pack(Parallel parallel, int bits, Tensor codes, Tensor qweight) {
        long across = Panel.count(codes.columns());
        parallel.forEach(across * (codes.rows() / 32), task -> {
            // 32 codes fill exactly as many words as a code has bits.
            long block = task / across;
            packBlock(bits, codes.rows(block * 32, 32), Panel.of(task % across, codes.columns()),
                    qweight.rows(block * bits, bits));
        });
    }

    private static void packBlock(int bits, Tensor codes, Panel panel, Tensor qweight) {
        byte[] row = new byte[WIDTH];
        int[] words = new int[bits * WIDTH];
        int all = 0;
        for (int i = 0; i < 32; i++) {
            MemorySegment.copy(codes.memory(), ValueLayout.JAVA_BYTE, Memory.row(codes, i) + panel.from(), row, 0,
                    panel.width());
            int word = i * bits / 32;
            int shift = i * bits % 32;
            for (int c = 0; c < WIDTH; c++) {
                words[word * WIDTH + c] |= (row[c] & 0xff) << shift;
                all |= row[c] & 0xff;
            }
            if (shift + bits > 32) {
                for (int c = 0; c < WIDTH; c++) {
                    words[(word + 1) * WIDTH + c] |= (row[c] & 0xff) >>> (32 - shift);
                }
            }
        }
        if (all >>> bits != 0) {
            throw new IllegalArgumentException("expected codes of " + bits + " bits, found one above");
        }
        for (int word = 0; word < bits; word++) {
            panel.writeRow(Arrays.copyOfRange(words, word * WIDTH, (word + 1) * WIDTH), qweight, word);
        }
    }

    static void dequantize(Parallel parallel, PackedWeights weights, Tensor out) {
        int[] groupOf = CpuCopies.checkedOrder(weights.groupOf(), weights.scales().rows());
        int bits = weights.bits();
        CpuCodes.byBlocks(parallel, out, (panel, from, to) -> {
            PackedGrids grids = new PackedGrids(weights, panel.from(), panel.width(), WIDTH, 0);
            int[] low = new int[WIDTH];
            int[] high = new int[WIDTH];
            float[] row = new float[WIDTH];
            for (long i = from; i < to; i++) {
                long word = i * bits / 32;
                int shift = (int) (i * bits % 32);
                panel.readRow(weights.qweight(), word, low);
                if (shift + bits > 32) {
                    panel.readRow(weights.qweight(), word + 1, high);
                    for (int c = 0; c < WIDTH; c++) {
                        low[c] = (low[c] >>> shift) | (high[c] << (32 - shift));
                    }
                } else {
                    for (int c = 0; c < WIDTH; c++) {
                        low[c] >>>= shift;
                    }
                }
                values(grids.of(groupOf[(int) i]), low, PackedGrids.mask(bits), row);
                panel.writeRow(row, 0, out, i);
            }
        });
    }

    /** Codes are in the low bits; what is above them is cut off. */
    private static void values(PackedGrids.Grid grid, int[] codes, int mask, float[] out) {
        float[] scales = grid.scales();
        float[] zeros = grid.zeros();
        for (int c = 0; c < WIDTH; c++) {
            out[c] = scales[c] * ((codes[c] & mask) - zeros[c]);
        }
    }
}
