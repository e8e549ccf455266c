package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.Activity;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.Packing;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.solve.LinearSolution;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostBytes;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ranks.Ranks;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Gives a linear that one rank has solved to all: its codes in as many bits as they have, its grid, and the figures of the report.
 * Each rank computes the weight from them, by the same op from the same integers.
 *
 * @param grids say how many bits a code has
 */
public record SolvedExchange(Ranks ranks, Device device, ModuleGrids grids) {

    /** Numbers of a message, in the order of {@link #figures}. */
    private static final int FIGURES = 13;
    private static final long HAS_ERROR = 1;
    private static final long HAS_DAMP = 2;
    private static final long HAS_ACTIVITY = 4;

    /**
     * Sends or receives a linear. All ranks call this.
     *
     * @param owner the rank that has solved it
     * @param mine what it found; null on the others
     * @param arena owns the codes on the others
     */
    public SolvedLinear share(int owner, LinearSpec linear, @Nullable SolvedLinear mine, TensorArena arena) {
        long[] figures = ranks.broadcast(owner, mine == null ? new long[FIGURES] : figures(mine));
        int groups = Math.toIntExact(figures[0]);
        QuantizedWeight weight = mine == null
                ? new QuantizedWeight(arena.matrix(DType.U8, linear.inputs(), linear.outputs()),
                        arena.matrix(DType.F32, groups, linear.outputs()),
                        arena.matrix(DType.I32, groups, linear.outputs()), arena.vector(DType.I32, linear.inputs()))
                : mine.solution().weight();
        codes(owner, weight.codes(), grids.of(linear).bits());
        tensor(owner, weight.scales());
        tensor(owner, weight.zeros());
        tensor(owner, weight.groupOf());
        return mine == null ? solved(linear, weight, figures) : mine;
    }

    private void codes(int owner, Tensor codes, int bits) {
        int inputs = Math.toIntExact(codes.rows());
        int outputs = Math.toIntExact(codes.columns());
        long words = (long) inputs * bits / 32;
        if (owner == ranks.rank()) {
            try (TensorArena scratch = device.arena()) {
                Tensor packed = scratch.matrix(DType.I32, words, outputs);
                device.quant().packCodes(bits, codes, packed);
                tensor(owner, packed);
            }
            return;
        }
        try (Arena host = Arena.ofShared()) {
            MemorySegment packed = host.allocate(words * outputs * Integer.BYTES, Long.BYTES);
            ranks.broadcast(owner, packed);
            HostBytes.upload(device, codes, to -> Packing.unpackWeights(packed, bits, inputs, outputs, to));
        }
    }

    private void tensor(int owner, Tensor tensor) {
        if (owner == ranks.rank()) {
            HostBytes.download(device, tensor, bytes -> ranks.broadcast(owner, bytes));
        } else {
            HostBytes.upload(device, tensor, bytes -> ranks.broadcast(owner, bytes));
        }
    }

    private static long[] figures(SolvedLinear solved) {
        LinearSolution solution = solved.solution();
        Double error = solution.outputError();
        Double damp = solution.damp();
        Activity activity = solved.activity();
        long present = (error == null ? 0 : HAS_ERROR) + (damp == null ? 0 : HAS_DAMP)
                + (activity == null ? 0 : HAS_ACTIVITY);
        return new long[] {solution.weight().scales().rows(), present, bits(solution.weightError()),
                bits(solution.largestScale()), bits(error == null ? 0 : error), bits(damp == null ? 0 : damp),
                solution.dampAttempts(), solution.deadInputs(), bits(activity == null ? 0 : activity.input()),
                bits(activity == null ? 0 : activity.residual()), activity == null ? 0 : activity.tokens(),
                bits(activity == null ? 0 : activity.shrunk()), bits(solved.seconds())};
    }

    private static SolvedLinear solved(LinearSpec linear, QuantizedWeight weight, long[] of) {
        Double error = (of[1] & HAS_ERROR) == 0 ? null : (Double) number(of[4]);
        Double damp = (of[1] & HAS_DAMP) == 0 ? null : (Double) number(of[5]);
        Activity activity = (of[1] & HAS_ACTIVITY) == 0
                ? null
                : new Activity((float) number(of[8]), (float) number(of[9]), of[10], number(of[11]));
        return new SolvedLinear(linear, new LinearSolution(weight, number(of[2]), (float) number(of[3]), error, damp,
                Math.toIntExact(of[6]), Math.toIntExact(of[7]), null), activity, number(of[12]));
    }

    private static long bits(double number) {
        return Double.doubleToRawLongBits(number);
    }

    private static double number(long bits) {
        return Double.longBitsToDouble(bits);
    }
}
