package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.quant.Panel.WIDTH;
import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.CpuCopies;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.Grid;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.zip.CRC32C;
import jdk.incubator.vector.FloatVector;

/** Fitting grids, and codes to and from weights, by panels of outputs and blocks of inputs. */
final class CpuCodes {

    /** Inputs of a task. */
    private static final long ROWS = 512;

    private CpuCodes() {}

    static void fitGrid(Parallel parallel, Grid grid, Tensor wt, Tensor scales, Tensor zeros) {
        byPanels(parallel, wt, scales, zeros, grid, (panelGrid, w, rows) -> panelGrid.fit(w, 0, rows));
    }

    static void searchScale(Parallel parallel, Grid grid, Tensor wt, Tensor importance, Tensor scales, Tensor zeros) {
        float[] importances = importance.memory().asSlice(0, wt.rows() * Float.BYTES).toArray(Memory.FLOAT);
        byPanels(parallel, wt, scales, zeros, grid, (panelGrid, w, rows) -> panelGrid.search(w, rows, importances));
    }

    /** Chooses the grids of a panel's columns from their weights w [rows, WIDTH]. */
    @FunctionalInterface
    private interface Fit {
        void run(PanelGrid grid, float[] w, int rows);
    }

    private static void byPanels(Parallel parallel, Tensor wt, Tensor scales, Tensor zeros, Grid grid, Fit fit) {
        int rows = Math.toIntExact(wt.rows());
        parallel.forEach(Panel.count(wt.columns()), index -> {
            Panel panel = Panel.of(index, wt.columns());
            float[] w = new float[Math.multiplyExact(rows, WIDTH)];
            panel.read(wt, w);
            PanelGrid fitted = new PanelGrid(grid);
            fit.run(fitted, w, rows);
            panel.writeRow(fitted.scales, 0, scales, 0);
            panel.writeRow(fitted.zeros, zeros, 0);
        });
    }

    static void quantize(Parallel parallel, Grid grid, Tensor wt, Tensor scales, Tensor zeros, Tensor groupOf,
            Tensor codes) {
        int[] groups = CpuCopies.checkedOrder(groupOf, scales.rows());
        byBlocks(parallel, wt, (panel, from, to) -> {
            PanelGrid panelGrid = new PanelGrid(grid);
            float[] row = new float[WIDTH];
            int[] ints = new int[WIDTH];
            byte[] bytes = new byte[WIDTH];
            for (long i = from; i < to; i++) {
                if (i == from || groups[(int) i] != groups[(int) i - 1]) {
                    panel.readRow(scales, groups[(int) i], panelGrid.scales, 0);
                    panel.readRow(zeros, groups[(int) i], panelGrid.zeros);
                    panelGrid.gridsWereSet(panel.width());
                }
                panel.readRow(wt, i, row, 0);
                for (int c = 0; c < WIDTH; c += LANES) {
                    panelGrid.codes(panelGrid.steps(FloatVector.fromArray(SPECIES, row, c), c), c, ints);
                }
                for (int c = 0; c < WIDTH; c++) {
                    bytes[c] = (byte) ints[c];
                }
                panel.writeRow(bytes, codes, i);
            }
        });
    }

    static void dequantize(Parallel parallel, Tensor codes, Tensor scales, Tensor zeros, Tensor groupOf, Tensor out) {
        int[] groups = CpuCopies.checkedOrder(groupOf, scales.rows());
        byBlocks(parallel, out, (panel, from, to) -> {
            float[] scale = new float[WIDTH];
            int[] zero = new int[WIDTH];
            byte[] code = new byte[WIDTH];
            float[] row = new float[WIDTH];
            for (long i = from; i < to; i++) {
                if (i == from || groups[(int) i] != groups[(int) i - 1]) {
                    panel.readRow(scales, groups[(int) i], scale, 0);
                    panel.readRow(zeros, groups[(int) i], zero);
                }
                MemorySegment.copy(codes.memory(), ValueLayout.JAVA_BYTE, Memory.row(codes, i) + panel.from(), code, 0,
                        panel.width());
                for (int c = 0; c < WIDTH; c++) {
                    row[c] = scale[c] * ((code[c] & 0xff) - zero[c]);
                }
                panel.writeRow(row, 0, out, i);
            }
        });
    }

    /** A part of a matrix: a panel of columns, rows [from, to). */
    @FunctionalInterface
    interface Block {
        void accept(Panel panel, long from, long to);
    }

    static void byBlocks(Parallel parallel, Tensor matrix, Block body) {
        long across = Panel.count(matrix.columns());
        parallel.forEach(across * Math.ceilDiv(matrix.rows(), ROWS), task -> {
            long from = task / across * ROWS;
            body.accept(Panel.of(task % across, matrix.columns()), from, Math.min(matrix.rows(), from + ROWS));
        });
    }

    static void checksum(Tensor codes, Tensor crc) {
        CRC32C found = new CRC32C();
        for (long i = 0; i < codes.rows(); i++) {
            found.update(codes.memory().asSlice(Memory.row(codes, i), codes.columns()).asByteBuffer());
        }
        crc.memory().set(ValueLayout.JAVA_INT_UNALIGNED, 0, (int) found.getValue());
    }
}
