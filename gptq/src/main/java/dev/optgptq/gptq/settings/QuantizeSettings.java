package dev.optgptq.gptq.settings;

import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.solve.ActOrder;
import java.nio.file.Path;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Everything that decides the outcome of a quantize run.
 *
 * @param model the model directory
 * @param output the directory to write
 * @param calibrator how codes are chosen
 * @param bits 2, 3, 4 or 8
 * @param groupSize inputs per scale, -1 for all
 * @param symmetric whether the grid is symmetric
 * @param clipSearch whether the grid's clip is searched for the least error
 * @param scaleSearch whether each group's scale is searched before solving, weighted by the Hessian's diagonal; gradient
 *     calibration always does
 * @param actOrder order and groups
 * @param damp share of the Hessian's mean diagonal that is added to it, grown when that is not enough
 * @param trueSequential whether inputs are recomputed between the sites of a block
 * @param calibration the text; null for the bundled one
 * @param sampling how sequences are drawn
 * @param samples number of calibration sequences
 * @param sequenceLength tokens in each
 * @param seed of the random sampling
 * @param refinement what gradient calibration tries beyond GPTQ; of it, GPTQ polishes its solutions, and round-to-nearest does
 *     without
 * @param precision what the linears multiply while calibrating
 * @param format v1 or v2
 * @param evaluation the text; null for the bundled one
 * @param evaluate whether to measure perplexity before and after
 * @param evaluationWindow tokens per evaluation window
 * @param overwrite whether an existing output is replaced
 * @param fresh whether what an interrupted run left is deleted instead of gone on from
 * @param threads of the host that read the output back
 */
public record QuantizeSettings(Path model, Path output, CalibratorKind calibrator, int bits, int groupSize,
        boolean symmetric, boolean clipSearch, boolean scaleSearch, ActOrder actOrder, double damp,
        boolean trueSequential,
        @Nullable Path calibration, Sampling sampling, int samples, int sequenceLength, long seed,
        Refinement refinement, Precision precision, CheckpointFormat format, @Nullable Path evaluation,
        boolean evaluate, int evaluationWindow,
        boolean overwrite, boolean fresh, int threads) {

    /**
     * Whether groups hold inputs that are not neighbours, so that g_idx is irregular (desc_act). One group for all inputs
     * is regular in any order, and rounding to nearest has no order.
     */
    public boolean irregularGroups() {
        return calibrator != CalibratorKind.RTN && actOrder == ActOrder.GROUP
                && groupSize != QuantizationConfig.ONE_GROUP;
    }

    /** What the linears multiply while calibrating. Sums, the residual stream and the solver are in float32 in any case. */
    public enum Precision {
        /** Halves where the model is stored in them and the device has matrix units for them, else float32. */
        AUTO,
        /** float32. */
        FLOAT32,
        /** float16 or bfloat16, as the model is stored; for GPUs. */
        HALF;

        /** As the command line writes it. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Whether tokens are weighed by the loss's gradient. */
    public boolean weighsTokens() {
        return calibrator == CalibratorKind.GRADIENT && refinement.weighTokens();
    }

    /** Gradients need products in float32, forward as well as back. */
    public Precision calibrationPrecision() {
        return calibrator == CalibratorKind.GRADIENT ? Precision.FLOAT32 : precision;
    }

    /** How codes are chosen. */
    public enum CalibratorKind {
        /** Round to nearest: no data. */
        RTN,
        /** GPTQ as published. */
        GPTQ,
        /** Gradient calibration. */
        GRADIENT;

        /** As the command line writes it. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }
}
