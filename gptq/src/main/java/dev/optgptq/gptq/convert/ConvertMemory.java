package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.Device;
import java.util.Locale;

/**
 * Bytes of device memory that converting a layer takes at most, counted before anything is computed.
 *
 * @param weights of a block in float32, as it was and as it becomes, and what runs it
 * @param scores queries, keys and inputs of the sequences that scores are fitted on, and matrices of scores
 * @param values the least squares of values and output projection in float64
 * @param down that of the MLP's down projection
 * @param stream one residual stream of the calibration text
 */
record ConvertMemory(long weights, long scores, long values, long down, long stream) {

    private static final long SINGLE = Float.BYTES;
    private static final long DOUBLE = Double.BYTES;
    /** Square matrices of one kind that float64 systems hold together: moments of training and held-out tokens, one to solve. */
    private static final long SYSTEMS = 3;
    /** Of three matrices of scores, at most. */
    private static final long SCORE_MATRICES = 3 * (256L << 20);

    /**
     * Of one layer.
     *
     * @param members key-value heads that become one, at most
     * @param tokens of the calibration text
     * @param fitted tokens of the sequences for the score fit, held-out ones included
     */
    static ConvertMemory of(ModelSpec spec, int members, long tokens, long fitted, int batchTokens) {
        Mixer.Attention form = HeadPlan.attention(spec);
        long hidden = spec.hiddenSize();
        long queries = form.queryWidth();
        long parameters = spec.most(block -> block.linears().stream()
                .mapToLong(linear -> (long) linear.inputs() * linear.outputs()).sum());
        long inner = HeadPlan.fittedWidth(spec);
        long averaged = members * queries;
        long batch = SINGLE * batchTokens * (8 * averaged + 3 * inner + 8 * hidden);
        return new ConvertMemory(2 * SINGLE * parameters + batch,
                SINGLE * fitted * (2 * hidden + 3 * queries + form.kvWidth()) + SCORE_MATRICES
                        + 4 * DOUBLE * hidden * hidden,
                system(averaged, hidden) + DOUBLE * (2 * averaged * queries + 3 * queries * queries),
                system(inner, hidden), SINGLE * tokens * hidden);
    }

    /** Moments of u [1, m] and y [1, n], and the solutions. */
    private static long system(long m, long n) {
        return (SINGLE + SYSTEMS * DOUBLE) * m * m + (SINGLE + 5 * DOUBLE) * m * n;
    }

    /** Without the streams. */
    long layer() {
        return weights + Math.max(scores, Math.max(values, down));
    }

    /**
     * Whether both streams of the text fit on the device beside a layer. UserError MEMORY where not even a layer fits.
     */
    boolean streamsOnDevice(Device device) {
        if (device.freeMemory().isEmpty()) {
            return false;
        }
        long free = device.freeMemory().getAsLong() - ModelMemory.LIBRARIES;
        if (layer() > free) {
            throw new UserError(UserError.Code.MEMORY, String.format(Locale.ROOT,
                    "converting a layer needs about %d MiB of device memory (weights %d, and the largest of scores %d, values %d and the "
                            + "down projection %d in float64), and %d MiB are free on %s; use another device, or --device cpu",
                    layer() >> 20, weights >> 20, scores >> 20, values >> 20, down >> 20, free >> 20, device.name()));
        }
        return layer() + 2 * stream <= free;
    }
}
