package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.Panel.WIDTH;

import dev.optgptq.kernels.Tensor;
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

    /** The tensors of a packed layer, as QuantOps.dequantizePacked takes them. */
    record Layer(int bits, int zeroOffset, Tensor qweight, Tensor qzeros, Tensor scales, int[] groupOf) {

        int mask() {
            return (1 << bits) - 1;
        }
    }

    static void dequantize(Parallel parallel, Layer layer, Tensor out) {
        CpuCodes.byBlocks(parallel, out, (panel, from, to) -> {
            Grids grids = new Grids(layer, panel);
            int[] low = new int[WIDTH];
            int[] high = new int[WIDTH];
            float[] row = new float[WIDTH];
            for (long i = from; i < to; i++) {
                int group = layer.groupOf()[(int) i];
                grids.unpack(group);
                long word = i * layer.bits() / 32;
                int shift = (int) (i * layer.bits() % 32);
                panel.readRow(layer.qweight(), word, low);
                if (shift + layer.bits() > 32) {
                    panel.readRow(layer.qweight(), word + 1, high);
                    for (int c = 0; c < WIDTH; c++) {
                        low[c] = (low[c] >>> shift) | (high[c] << (32 - shift));
                    }
                } else {
                    for (int c = 0; c < WIDTH; c++) {
                        low[c] >>>= shift;
                    }
                }
                grids.values(group, low, row);
                panel.writeRow(row, 0, out, i);
            }
        });
    }

    /** Scales and zero points of one panel, unpacked when a group is first met: with act-order groups come in any order. */
    private static final class Grids {
        private final Layer layer;
        private final Panel panel;
        private final boolean[] unpacked;
        private final float[] scales;
        private final int[] zeros;

        Grids(Layer layer, Panel panel) {
            int groups = Math.toIntExact(layer.scales().rows());
            this.layer = layer;
            this.panel = panel;
            this.unpacked = new boolean[groups];
            this.scales = new float[Math.multiplyExact(groups, WIDTH)];
            this.zeros = new int[groups * WIDTH];
        }

        void unpack(int group) {
            if (unpacked[group]) {
                return;
            }
            unpacked[group] = true;
            Tensor qzeros = layer.qzeros();
            for (int c = 0; c < panel.width(); c++) {
                long output = panel.from() + c;
                long bit = output * layer.bits();
                long at = Memory.row(qzeros, group) + bit / 32 * 4;
                long words = Integer.toUnsignedLong(qzeros.memory().get(Memory.INT, at));
                if (bit % 32 + layer.bits() > 32) {
                    words |= (long) qzeros.memory().get(Memory.INT, at + 4) << 32;
                }
                zeros[group * WIDTH + c] = ((int) (words >>> (bit % 32)) + layer.zeroOffset()) & layer.mask();
                scales[group * WIDTH + c] = Float.float16ToFloat(layer.scales().memory().get(Memory.SHORT,
                        Memory.row(layer.scales(), group) + 2 * output));
            }
        }

        /** Codes are in the low bits; what is above them is cut off. */
        void values(int group, int[] codes, float[] out) {
            int mask = layer.mask();
            int at = group * WIDTH;
            for (int c = 0; c < WIDTH; c++) {
                out[c] = scales[at + c] * ((codes[c] & mask) - zeros[at + c]);
            }
        }
    }
}
