package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.quant.Panel.WIDTH;
import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.QuantOps.RefitProblem;
import dev.optgptq.kernels.ops.QuantOps;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** Refits the scales of all groups to the codes, with neighbouring outputs in vector lanes. */
final class CpuRefit {

    private CpuRefit() {}

    static void groupSums(Parallel parallel, int groupSize, Tensor codes, Tensor zeros, Tensor values, Tensor sums) {
        long across = Panel.count(codes.columns());
        parallel.forEach(across * sums.rows(), task -> {
            Panel panel = Panel.of(task % across, codes.columns());
            long group = task / across;
            int[] zero = new int[WIDTH];
            byte[] code = new byte[WIDTH];
            float[] row = new float[WIDTH];
            float[] sum = new float[WIDTH];
            panel.readRow(zeros, group, zero);
            for (long i = group * groupSize; i < Math.min(codes.rows(), (group + 1) * groupSize); i++) {
                panel.readRow(codes, i, code);
                panel.readRow(values, i, row, 0);
                for (int c = 0; c < WIDTH; c++) {
                    sum[c] += ((code[c] & 0xff) - zero[c]) * row[c];
                }
            }
            panel.writeRow(sum, 0, sums, group);
        });
    }

    static void scales(Parallel parallel, RefitProblem problem) {
        long outputs = problem.scales().columns();
        parallel.forEach(Math.ceilDiv(outputs, (long) LANES), index -> {
            long from = index * LANES;
            new Lanes(problem, from, (int) Math.min(LANES, outputs - from)).run();
        });
    }

    /** One vector of outputs: rows of LANES floats, normal [G * G] as in the problem, the others [G]. */
    private static final class Lanes {
        private final RefitProblem problem;
        private final long from;
        private final int width;
        private final int groups;
        private final float[] normal;
        private final float[] slope;
        private final float[] scales;
        private final float[] fitted;

        Lanes(RefitProblem problem, long from, int width) {
            this.problem = problem;
            this.from = from;
            this.width = width;
            this.groups = Math.toIntExact(problem.scales().rows());
            this.normal = read(problem.normal());
            this.slope = read(problem.slope());
            this.scales = read(problem.scales());
            this.fitted = scales.clone();
        }

        private float[] read(Tensor source) {
            float[] rows = new float[Math.toIntExact(source.rows() * LANES)];
            for (int row = 0; row < source.rows(); row++) {
                MemorySegment.copy(source.memory(), Memory.FLOAT, offset(source, row), rows, row * LANES, width);
            }
            return rows;
        }

        private long offset(Tensor tensor, long row) {
            return Memory.row(tensor, row) + from * Float.BYTES;
        }

        private int at(int j, int k) {
            return (k * groups + j) * LANES;
        }

        private static FloatVector load(float[] rows, int at) {
            return FloatVector.fromArray(SPECIES, rows, at);
        }

        void run() {
            for (int j = 0; j < groups; j++) {
                FloatVector diagonal = load(normal, at(j, j));
                diagonal.fma(FloatVector.broadcast(SPECIES, QuantOps.RIDGE), diagonal).intoArray(normal, at(j, j));
            }
            eliminate();
            VectorMask<Float> falls = fit();
            for (int j = 0; j < groups; j++) {
                FloatVector scale = load(scales, j * LANES);
                scale.blend(load(fitted, j * LANES), falls).intoArray(scales, j * LANES);
                MemorySegment.copy(scales, j * LANES, problem.scales().memory(), Memory.FLOAT,
                        offset(problem.scales(), j), width);
            }
        }

        private void eliminate() {
            for (int j = 0; j < groups; j++) {
                FloatVector pivot = load(normal, at(j, j));
                VectorMask<Float> positive = pivot.compare(VectorOperators.GT, 0);
                for (int i = j + 1; i < groups; i++) {
                    FloatVector factor = load(normal, at(j, i)).div(pivot).neg();
                    for (int k = i; k < groups; k++) {
                        FloatVector element = load(normal, at(i, k));
                        element.blend(factor.fma(load(normal, at(j, k)), element), positive)
                                .intoArray(normal, at(i, k));
                    }
                    FloatVector element = load(slope, i * LANES);
                    element.blend(factor.fma(load(slope, j * LANES), element), positive).intoArray(slope, i * LANES);
                }
            }
        }

        /** Where the objective falls. */
        private VectorMask<Float> fit() {
            FloatVector left = FloatVector.zero(SPECIES);
            FloatVector gained = FloatVector.zero(SPECIES);
            float[] stored = new float[LANES];
            for (int j = groups - 1; j >= 0; j--) {
                FloatVector pivot = load(normal, at(j, j));
                VectorMask<Float> positive = pivot.compare(VectorOperators.GT, 0);
                FloatVector r = load(slope, j * LANES);
                FloatVector c = r;
                for (int k = j + 1; k < groups; k++) {
                    c = load(normal, at(j, k)).fma(load(fitted, k * LANES).sub(load(scales, k * LANES)), c);
                }
                c = c.neg().div(pivot);
                FloatVector scale = load(scales, j * LANES);
                scale.add(c).intoArray(stored, 0);
                for (int lane = 0; lane < LANES; lane++) {
                    float s = problem.grid().stored(stored[lane]);
                    boolean moves = positive.laneIsSet(lane) && problem.grid().isScale(s);
                    fitted[j * LANES + lane] = moves ? s : scales[j * LANES + lane];
                }
                FloatVector rest = load(fitted, j * LANES).sub(scale).sub(c);
                left = left.blend(pivot.fma(rest.mul(rest), left), positive);
                gained = gained.blend(gained.add(r.mul(r).div(pivot)), positive);
            }
            return left.compare(VectorOperators.LT, gained);
        }
    }
}
