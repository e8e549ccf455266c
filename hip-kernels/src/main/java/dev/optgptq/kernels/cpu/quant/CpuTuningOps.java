package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.quant.Panel.WIDTH;
import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.CpuCopies;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.ops.TuningOps;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import org.jspecify.annotations.Nullable;

/** TuningOps by panels of outputs, rows in vectors; the optimizer's step by rows. Threads never share a sum. */
public final class CpuTuningOps implements TuningOps {

    /** Adding and taking away 1.5 * 2^23 rounds to an integer, half to even, below 2^22. */
    private static final float ROUNDER = 0x1.8p23f;

    private final Parallel parallel;

    public CpuTuningOps(Parallel parallel) {
        this.parallel = parallel;
    }

    @Override
    public void latent(LatentGrid grid, Tensor wt, Tensor codes, Tensor latent) {
        int[] groups = CpuCopies.checkedOrder(grid.groupOf(), grid.scales().rows());
        CpuCodes.byBlocks(parallel, latent, (panel, from, to) -> {
            PanelSteps steps = new PanelSteps(grid, groups, panel);
            byte[] code = new byte[WIDTH];
            float[] row = new float[WIDTH];
            for (long i = from; i < to; i++) {
                steps.enter(i);
                MemorySegment.copy(codes.memory(), ValueLayout.JAVA_BYTE, Memory.row(codes, i) + panel.from(), code, 0,
                        panel.width());
                panel.readRow(wt, i, row, 0);
                for (int c = 0; c < WIDTH; c++) {
                    float middle = (code[c] & 0xff) + steps.lowest[c];
                    row[c] = Math.min(Math.max(row[c] / steps.scales[c], middle - INSIDE), middle + INSIDE);
                }
                panel.writeRow(row, 0, latent, i);
            }
        });
    }

    @Override
    public void roundLatent(LatentGrid grid, Tensor latent, Tensor wt) {
        int[] groups = CpuCopies.checkedOrder(grid.groupOf(), grid.scales().rows());
        CpuCodes.byBlocks(parallel, latent, (panel, from, to) -> {
            PanelSteps steps = new PanelSteps(grid, groups, panel);
            float[] row = new float[WIDTH];
            for (long i = from; i < to; i++) {
                steps.enter(i);
                panel.readRow(latent, i, row, 0);
                for (int c = 0; c < WIDTH; c += LANES) {
                    FloatVector scale = FloatVector.fromArray(SPECIES, steps.scales, c);
                    steps.of(FloatVector.fromArray(SPECIES, row, c), c).mul(scale).intoArray(row, c);
                }
                panel.writeRow(row, 0, wt, i);
            }
        });
    }

    @Override
    public void latentCodes(LatentGrid grid, Tensor latent, Tensor codes) {
        int[] groups = CpuCopies.checkedOrder(grid.groupOf(), grid.scales().rows());
        CpuCodes.byBlocks(parallel, latent, (panel, from, to) -> {
            PanelSteps steps = new PanelSteps(grid, groups, panel);
            float[] row = new float[WIDTH];
            byte[] code = new byte[WIDTH];
            for (long i = from; i < to; i++) {
                steps.enter(i);
                panel.readRow(latent, i, row, 0);
                for (int c = 0; c < WIDTH; c += LANES) {
                    steps.of(FloatVector.fromArray(SPECIES, row, c), c)
                            .sub(FloatVector.fromArray(SPECIES, steps.lowest, c)).intoArray(row, c);
                }
                for (int c = 0; c < WIDTH; c++) {
                    code[c] = (byte) (int) row[c];
                }
                panel.writeRow(code, codes, i);
            }
        });
    }

    @Override
    public void latentGradient(LatentGrid grid, Tensor latent, Tensor d, Tensor dScales) {
        int[] groups = CpuCopies.checkedOrder(grid.groupOf(), grid.scales().rows());
        parallel.forEach(Panel.count(latent.columns()), index -> {
            Panel panel = Panel.of(index, latent.columns());
            PanelSteps steps = new PanelSteps(grid, groups, panel);
            float[] sums = new float[Math.multiplyExact(Math.toIntExact(dScales.rows()), WIDTH)];
            panel.read(dScales, sums);
            float[] row = new float[WIDTH];
            float[] gradient = new float[WIDTH];
            for (int i = 0; i < groups.length; i++) {
                steps.enter(i);
                panel.readRow(latent, i, row, 0);
                panel.readRow(d, i, gradient, 0);
                int at = groups[i] * WIDTH;
                for (int c = 0; c < WIDTH; c += LANES) {
                    steps.gradient(row, gradient, sums, at, c);
                }
                panel.writeRow(gradient, 0, d, i);
            }
            for (int group = 0; group < dScales.rows(); group++) {
                panel.writeRow(sums, group * WIDTH, dScales, group);
            }
        });
    }

    /** The grid of a panel's outputs for one input after the other. */
    private static final class PanelSteps {
        private final LatentGrid grid;
        private final int[] groups;
        private final Panel panel;
        private final float[] scales = new float[WIDTH];
        private final int[] zeros = new int[WIDTH];
        /** -zero and maxCode - zero. */
        private final float[] lowest = new float[WIDTH];
        private final float[] highest = new float[WIDTH];
        private int group = -1;

        private PanelSteps(LatentGrid grid, int[] groups, Panel panel) {
            this.grid = grid;
            this.groups = groups;
            this.panel = panel;
        }

        private void enter(long input) {
            if (groups[(int) input] == group) {
                return;
            }
            group = groups[(int) input];
            panel.readRow(grid.scales(), group, scales, 0);
            panel.readRow(grid.zeros(), group, zeros);
            for (int c = 0; c < WIDTH; c++) {
                lowest[c] = -zeros[c];
                highest[c] = grid.maxCode() - zeros[c];
            }
        }

        /** code - zero of latents of columns c and on. */
        private FloatVector of(FloatVector latent, int c) {
            return round(latent.max(FloatVector.fromArray(SPECIES, lowest, c))
                    .min(FloatVector.fromArray(SPECIES, highest, c)));
        }

        /** Half to even, below 2^22. */
        private static FloatVector round(FloatVector value) {
            return value.add(ROUNDER).sub(ROUNDER);
        }

        private void gradient(float[] latent, float[] d, float[] sums, int at, int c) {
            FloatVector low = FloatVector.fromArray(SPECIES, lowest, c);
            FloatVector high = FloatVector.fromArray(SPECIES, highest, c);
            // A step beyond the codes is outside, however far.
            FloatVector rounded = round(FloatVector.fromArray(SPECIES, latent, c).max(low.sub(1)).min(high.add(1)));
            FloatVector dw = FloatVector.fromArray(SPECIES, d, c);
            FloatVector.fromArray(SPECIES, sums, at + c).add(dw.mul(rounded.max(low).min(high))).intoArray(sums,
                    at + c);
            VectorMask<Float> inside = rounded.compare(VectorOperators.GE, low)
                    .and(rounded.compare(VectorOperators.LE, high));
            FloatVector.zero(SPECIES).blend(dw.mul(FloatVector.fromArray(SPECIES, scales, c)), inside).intoArray(d, c);
        }
    }

    @Override
    public void adam(AdamStep step, Tensor gradient, Tensor first, Tensor second, @Nullable Tensor unit,
            Tensor parameter) {
        Rows.forEach(parallel, parameter, row -> {
            long columns = parameter.columns();
            for (long c = 0; c < columns; c += LANES) {
                adam(step, gradient, first, second, unit, parameter, row, c,
                        SPECIES.indexInRange(c, columns));
            }
        });
    }

    private static void adam(AdamStep step, Tensor gradient, Tensor first, Tensor second, @Nullable Tensor unit,
            Tensor parameter, long row, long column, VectorMask<Float> lanes) {
        FloatVector g = load(gradient, row, column, lanes);
        FloatVector mean = load(first, row, column, lanes).mul(step.beta1()).add(g.mul(1 - step.beta1()));
        FloatVector square = load(second, row, column, lanes).mul(step.beta2())
                .add(g.mul(g).mul(1 - step.beta2()));
        store(mean, first, row, column, lanes);
        store(square, second, row, column, lanes);
        FloatVector direction = mean.mul(step.firstCorrection())
                .div(square.mul(step.secondCorrection()).sqrt().add(step.epsilon())).mul(step.rate());
        FloatVector scaled = unit == null ? direction : direction.mul(load(unit, row, column, lanes).abs());
        store(load(parameter, row, column, lanes).sub(scaled), parameter, row, column, lanes);
    }

    private static FloatVector load(Tensor tensor, long row, long column, VectorMask<Float> lanes) {
        return Memory.load(tensor.memory(), Memory.row(tensor, row) + Float.BYTES * column, lanes);
    }

    private static void store(FloatVector value, Tensor tensor, long row, long column, VectorMask<Float> lanes) {
        Memory.store(value, tensor.memory(), Memory.row(tensor, row) + Float.BYTES * column, lanes);
    }
}
