package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.model.InputSite;
import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.calibrate.model.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.solve.SiteSolver;
import java.util.EnumMap;
import java.util.Map;

/**
 * What a run will need at its peak, computed before it starts. All in bytes. Evaluating and quantizing come one after the
 * other, so that the larger of them counts.
 *
 * @param weights one decoder block, F32
 * @param hessians one F32 [n, n] per site
 * @param solving the damped copy and the factor of the largest site, and the copies of the largest linear
 * @param forward buffers of one batch
 * @param activations the residual stream, if it is held in memory; on the host
 * @param spilled the residual stream, if it is too large for memory and goes to a temporary file
 * @param evaluation all that evaluating takes: a block, the head, buffers, residual stream, logits; 0 without it
 */
record MemoryPlan(long weights, long hessians, long solving, long forward, long activations, long spilled,
        long evaluation) {

    /** The JVM, its heap and the libraries: measured, not computed. */
    private static final long PROCESS = 250L << 20;
    /** Share of the available memory that the residual stream may take. */
    private static final double STREAM_SHARE = 0.25;

    /**
     * @param groupSize inputs per scale, -1 for all
     * @param texts what calibrates and evaluates, if anything
     */
    static MemoryPlan of(ModelSpec model, int groupSize, RunTexts texts, long available) {
        TokenSequences evaluation = texts.evaluation();
        long evaluating = evaluation == null
                ? 0
                : Perplexity.peakBytes(model, evaluation.count(), evaluation.length());
        long copies = model.linears(0).stream().mapToLong(linear -> solvingLinear(linear, groupSize)).max().orElse(0);
        TokenSequences calibration = texts.calibration();
        if (calibration == null) {
            return new MemoryPlan(Transformer.blockBytes(model), 0, copies, 0, 0, 0, evaluating);
        }
        Map<InputSite, Long> sites = new EnumMap<>(InputSite.class);
        model.linears(0).forEach(linear -> sites.put(linear.site(), square(linear.inputs())));
        long hessians = sites.values().stream().mapToLong(Long::longValue).sum();
        long largestSite = sites.values().stream().mapToLong(Long::longValue).max().orElse(0);
        int batchRows = CalibrationStream.batchRows(calibration.length(), calibration.count());
        long forward = 4L * batchRows * model.hiddenSize()
                + Transformer.workspaceBytes(model, batchRows, calibration.length());
        long stream = 4L * calibration.tokens() * model.hiddenSize();
        boolean spill = stream > streamLimit(available);
        return new MemoryPlan(Transformer.blockBytes(model), hessians, 2 * largestSite + copies, forward,
                spill ? 0 : stream, spill ? stream : 0, evaluating);
    }

    private static long solvingLinear(LinearSpec linear, int groupSize) {
        int groups = groupSize == QuantizationConfig.ONE_GROUP ? 1 : Math.ceilDiv(linear.inputs(), groupSize);
        return SiteSolver.peakBytes(linear.inputs(), linear.outputs(), groups);
    }

    /** The largest residual stream that is held in memory. */
    static long streamLimit(long available) {
        return (long) (STREAM_SHARE * Math.min(available, 1L << 50));
    }

    long total() {
        return PROCESS + Math.max(evaluation, quantizing() + activations);
    }

    /** What of it is allocated on the device. */
    long device() {
        return Math.max(evaluation, quantizing());
    }

    private long quantizing() {
        return weights + hessians + Math.max(solving, forward);
    }

    /** Throws UserError MEMORY when the plan cannot work. */
    void require(long available) {
        if (total() > available) {
            throw new UserError(UserError.Code.MEMORY,
                    "this run needs about " + mebibytes(total()) + " of memory (" + this + "), and "
                            + mebibytes(available)
                            + " are free. Close other programs, or use a machine with more memory; a smaller "
                            + "--sequence-length lowers the batch buffers only"
                            + (evaluation > quantizing() + activations
                                    ? ", and --eval none spares the evaluation"
                                    : ""));
        }
    }

    private static long square(long n) {
        return 4 * n * n;
    }

    private static String mebibytes(long bytes) {
        return (bytes >> 20) + " MiB";
    }

    @Override
    public String toString() {
        return "one block of weights " + mebibytes(weights) + ", Hessians " + mebibytes(hessians) + ", solving "
                + mebibytes(solving) + ", activations " + mebibytes(activations + forward)
                + (spilled > 0 ? ", " + mebibytes(spilled) + " in a temporary file" : "")
                + (evaluation > 0 ? "; evaluating instead " + mebibytes(evaluation) : "") + "; process "
                + mebibytes(PROCESS);
    }
}
