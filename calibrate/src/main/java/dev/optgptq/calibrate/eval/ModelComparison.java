package dev.optgptq.calibrate.eval;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * Two models over the same windows, in one pass over the text: what a change of the weights did. Logits of both exist for a
 * few tokens at a time.
 *
 * @param baseline perplexity of the model that is compared with
 * @param change of perplexity
 * @param test whether the difference of their mean cross-entropies is more than chance
 * @param divergence of their predictions, whatever the text goes on with
 */
public record ModelComparison(Perplexity baseline, Perplexity candidate, PerplexityComparison change, PairedTest test,
        Divergence divergence) {

    /**
     * Evaluates both. Throws UserError BAD_SETTING for windows without a prediction and for vocabularies of different size,
     * BAD_TOKENIZER for ids outside the vocabulary, NUMERIC when a model's output is not finite.
     */
    public static ModelComparison evaluate(Transformer baseline, Transformer candidate, TokenSequences text,
            Progress progress) {
        Perplexity.requirePredictions(text);
        requireSameVocabulary(baseline, candidate);
        Device device = baseline.device();
        try (TensorArena arena = device.arena()) {
            Tensor targets = Perplexity.targets(text, device, arena);
            Tensor baselineNll = arena.vector(DType.F64, text.tokens());
            Tensor candidateNll = arena.vector(DType.F64, text.tokens());
            Tensor kl = arena.vector(DType.F64, text.tokens());
            Tensor agrees = arena.vector(DType.I32, text.tokens());
            List<Double> seconds = new LogitsStream(
                    List.of(new LogitsStream.Source(baseline, "baseline"), new LogitsStream.Source(candidate, "model")),
                    text, progress, LogitsStream.Limits.DEFAULT).run((first, logits) -> {
                        Tensor teacher = logits.getFirst();
                        Tensor student = logits.getLast();
                        long n = teacher.rows();
                        Perplexity.crossEntropy(device, teacher, first, targets, baselineNll);
                        Perplexity.crossEntropy(device, student, first, targets, candidateNll);
                        device.neural().klDivergence(teacher, student, kl.columns(first, n), agrees.columns(first, n));
                    });
            int length = text.length();
            Perplexity before = Perplexity.of(
                    Perplexity.windowNll(Perplexity.doubles(device, baselineNll), length, baseline), length,
                    seconds.getFirst());
            Perplexity after = Perplexity.of(
                    Perplexity.windowNll(Perplexity.doubles(device, candidateNll), length, candidate), length,
                    seconds.getLast());
            return of(before, after, Divergence.of(Perplexity.doubles(device, kl), ints(device, agrees), length));
        }
    }

    private static ModelComparison of(Perplexity baseline, Perplexity candidate, Divergence divergence) {
        return new ModelComparison(baseline, candidate, PerplexityComparison.of(baseline, candidate),
                PairedTest.of(PerplexityComparison.paired(baseline, candidate)), divergence);
    }

    /** What evaluate() takes on the device at its peak, in bytes, for {@code windows} windows of {@code length} tokens. */
    public static long peakBytes(ModelSpec baseline, ModelSpec candidate, int windows, int length) {
        return LogitsStream.peakBytes(List.of(baseline, candidate), windows, length, LogitsStream.Limits.DEFAULT)
                + (long) windows * length * (2 * Integer.BYTES + 3 * Double.BYTES);
    }

    /** Distributions over different tokens have no divergence. */
    private static void requireSameVocabulary(Transformer baseline, Transformer candidate) {
        int expected = candidate.spec().vocabSize();
        int found = baseline.spec().vocabSize();
        if (expected != found) {
            throw new UserError(Code.BAD_SETTING,
                    "--baseline: expected a model that predicts " + expected + " tokens, as " + candidate.path()
                            + " does, found " + found + " in " + baseline.path()
                            + "; their predictions cannot be compared. Measure each without --baseline");
        }
    }

    private static int[] ints(Device device, Tensor source) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment values = host.allocate(ValueLayout.JAVA_INT, source.elements());
            device.download(source, values);
            return values.toArray(ValueLayout.JAVA_INT);
        }
    }
}
