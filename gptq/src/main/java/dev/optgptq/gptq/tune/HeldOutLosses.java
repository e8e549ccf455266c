package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.calibrate.gradient.Objective;
import dev.optgptq.calibrate.gradient.Teacher;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.refine.Streams;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Losses of whole models on the held-out sequences: means over the predictions, in nats. Divergences are KL(original ||
 * it) of the next token's distribution.
 *
 * @param originalCrossEntropy of the next token, as the original model predicts it
 * @param crossEntropy the same, as the refined blocks do
 * @param divergence of the refined blocks
 * @param plainDivergence of the same blocks as solved by GPTQ alone, each with the inputs from the refined blocks
 *     before it; NaN if not computed
 */
public record HeldOutLosses(double originalCrossEntropy, double crossEntropy, double divergence,
        double plainDivergence) {

    /** Rows of logits computed at once: of two models, within the memory of one batch of gradients. */
    private static long chunk(ModelSpec spec, int batchRows) {
        long bytes = GradientStream.Limits.DEFAULT.logitsBytes();
        return Math.clamp(bytes / (2L * Float.BYTES * spec.vocabSize()), 1, batchRows);
    }

    /** Device memory of measuring, in bytes. */
    public static long bytes(ModelSpec spec, int batchRows) {
        long rows = chunk(spec, batchRows);
        return ModelMemory.headBytes(spec)
                + rows * (Float.BYTES * (4L * spec.hiddenSize() + 2L * spec.vocabSize()) + 2 * Double.BYTES);
    }

    /**
     * Measures them.
     *
     * @param streams after the last block
     * @param text the calibration sequences
     */
    public static HeldOutLosses of(Transformer model, Streams streams, TokenSequences text) {
        int[] sequences = Refinement.heldOutOf(text.count());
        TokenSequences heldOut = text.select(sequences);
        int first = sequences[0] - Math.toIntExact(streams.originalFrom() / text.length());
        int[] ofOriginal = IntStream.range(first, first + sequences.length).toArray();
        try (TensorArena arena = model.device().arena()) {
            Head head = model.loadHead(arena);
            long rows = chunk(model.spec(), streams.batchRows());
            Ends ends = new Ends(model, heldOut, head, arena.matrix(DType.F32, rows, model.spec().hiddenSize()),
                    arena.matrix(DType.F32, rows, model.spec().hiddenSize()),
                    arena.matrix(DType.F32, rows, model.spec().vocabSize()), arena.vector(DType.F64, rows));
            Objective.Head labels = new NextToken().open(model, heldOut, head, arena, rows);
            Objective.Head teacher = new Teacher(streams.original(), ofOriginal).open(model, heldOut, head, arena,
                    rows);
            long original = (long) first * text.length();
            ActivationStore plain = streams.plain();
            return new HeldOutLosses(ends.loss(streams.original(), original, labels),
                    ends.loss(streams.quantized(), streams.trainedRows(), labels),
                    ends.loss(streams.quantized(), streams.trainedRows(), teacher),
                    plain == null ? Double.NaN : ends.loss(plain, 0, teacher));
        }
    }

    /** Whether the refined blocks are closer to the original than plain GPTQ's; null if not known. */
    public @Nullable Boolean beatsPlain() {
        return Double.isNaN(plainDivergence) ? null : divergence <= plainDivergence;
    }

    /** Computes losses from the last block's output, a few tokens at a time. */
    private record Ends(Transformer model, TokenSequences heldOut, Head head, Tensor x, Tensor normed, Tensor logits,
            Tensor losses) {

        /** @param from the first held-out row of the stream */
        private double loss(ActivationStore stream, long from, Objective.Head objective) {
            Device device = model.device();
            double sum = 0;
            for (long token = 0; token < heldOut.tokens(); token += x.rows()) {
                long n = Math.min(x.rows(), heldOut.tokens() - token);
                Tensor rows = x.rows(0, n);
                stream.read(device, from + token, rows);
                model.logits(head, rows, normed.rows(0, n), logits.rows(0, n));
                objective.loss(token, logits.rows(0, n), losses.columns(0, n));
                sum += Predictions.sum(device, token, losses.columns(0, n), heldOut.length());
            }
            return sum / Predictions.count(heldOut);
        }
    }
}
