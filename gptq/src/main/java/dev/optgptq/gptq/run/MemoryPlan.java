package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.gradient.Saliency;
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
 * @param weighing the weighted rows of a batch, and the weights; 0 where all tokens count the same
 * @param gradients what finding those weights takes, before quantizing; nothing where all tokens count the same
 * @param hostLimit the most that tokens' activations may take on the host before they go to a temporary file
 * @param evaluation all that evaluating takes: a block, the head, buffers, residual stream, logits; 0 without it
 */
record MemoryPlan(long weights, long hessians, long solving, long forward, long activations, long spilled,
        long weighing, Saliency.Memory gradients, long hostLimit, long evaluation) {

    /** The JVM, its heap and the libraries: measured, not computed. */
    private static final long PROCESS = 250L << 20;
    /** Share of the available memory that the residual stream may take. */
    private static final double STREAM_SHARE = 0.25;
    /** Block inputs that the gradients keep: enough sequences at once that loading blocks costs nothing beside them. */
    private static final long GROUP_BYTES = 256L << 20;

    /**
     * @param groupSize inputs per scale, -1 for all
     * @param texts what calibrates and evaluates, if anything
     * @param weighs whether tokens are weighed by the loss's gradient
     */
    static MemoryPlan of(ModelSpec model, int groupSize, RunTexts texts, boolean weighs, long available) {
        TokenSequences evaluation = texts.evaluation();
        long evaluating = evaluation == null
                ? 0
                : Perplexity.peakBytes(model, evaluation.count(), evaluation.length());
        long copies = model.linears(0).stream().mapToLong(linear -> solvingLinear(linear, groupSize)).max().orElse(0);
        TokenSequences calibration = texts.calibration();
        if (calibration == null) {
            return new MemoryPlan(Transformer.blockBytes(model), 0, copies, 0, 0, 0, 0, Saliency.Memory.NONE, 0,
                    evaluating);
        }
        Map<InputSite, Long> sites = new EnumMap<>(InputSite.class);
        model.linears(0).forEach(linear -> sites.put(linear.site(), square(linear.inputs())));
        long hessians = sites.values().stream().mapToLong(Long::longValue).sum();
        long largestSite = sites.values().stream().mapToLong(Long::longValue).max().orElse(0);
        int batchRows = CalibrationStream.batchRows(calibration.length(), calibration.count());
        long forward = 4L * batchRows * model.hiddenSize()
                + Transformer.workspaceBytes(model, batchRows, calibration.length());
        long stream = 4L * calibration.tokens() * model.hiddenSize();
        long limit = streamLimit(available);
        boolean spill = stream > limit;
        long widest = sites.keySet().stream().mapToLong(model::inputs).max().orElse(0);
        long weighing = weighs ? 4L * (batchRows * widest + sites.size() * calibration.tokens()) : 0;
        Saliency.Memory gradients = weighs
                ? Saliency.memory(model, calibration, Math.min(GROUP_BYTES, limit), limit)
                : Saliency.Memory.NONE;
        return new MemoryPlan(Transformer.blockBytes(model), hessians, 2 * largestSite + copies, forward,
                spill ? 0 : stream, spill ? stream : 0, weighing, gradients, limit, evaluating);
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
        long calibrating = Math.max(gradients.device() + gradients.inputs(), quantizing() + activations);
        return PROCESS + Math.max(evaluation, calibrating + gradients.kept());
    }

    /** What of it is allocated on the device. */
    long device() {
        return Math.max(evaluation, Math.max(gradients.device(), quantizing()));
    }

    private long quantizing() {
        return weights + hessians + weighing + Math.max(solving, forward);
    }

    /** Block inputs that the gradients may keep at one time. */
    long groupBytes() {
        return Math.min(GROUP_BYTES, hostLimit);
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
                + (weighing > 0
                        ? ", weights of tokens " + mebibytes(weighing + gradients.kept()) + "; gradients instead "
                                + mebibytes(gradients.device() + gradients.inputs())
                        : "")
                + (evaluation > 0 ? "; evaluating instead " + mebibytes(evaluation) : "") + "; process "
                + mebibytes(PROCESS);
    }
}
