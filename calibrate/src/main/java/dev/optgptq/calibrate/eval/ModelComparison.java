package dev.optgptq.calibrate.eval;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.SequenceRange;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ranks.Ranks;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Function;

/**
 * Two models over the same windows, in one pass over the text: the effect of a change of the weights. Logits of both
 * exist for a few tokens at a time.
 *
 * @param baseline perplexity of the model that is compared with
 * @param change of perplexity
 * @param test whether the difference of their mean cross-entropies is more than chance
 * @param divergence of their predictions, independent of the text's next token
 */
public record ModelComparison(Perplexity baseline, Perplexity candidate, PerplexityComparison change, PairedTest test,
        Divergence divergence) {

    /**
     * Evaluates both. Throws UserError BAD_SETTING for windows without a prediction and for vocabularies of different size,
     * BAD_TOKENIZER for ids outside the vocabulary, NUMERIC when a model's output is not finite.
     */
    public static ModelComparison evaluate(Transformer baseline, Transformer candidate, TokenSequences text,
            Progress progress) {
        return evaluate(Replicas.of(baseline), Replicas.of(candidate), text, progress);
    }

    /** The same on several devices, each with some of the windows; of several ranks all call this, and all get the result. */
    public static ModelComparison evaluate(Replicas baseline, Replicas candidate, TokenSequences text,
            Progress progress) {
        Perplexity.requirePredictions(text);
        requireSameVocabulary(baseline.first(), candidate.first());
        Tokens tokens = new Tokens(Math.toIntExact(text.tokens()));
        Ranks ranks = baseline.crew().ranks();
        List<List<LogitsStream.Pass>> passes = new ArrayList<>(Collections.nCopies(baseline.size(), List.of()));
        SequenceRange[] ranges = new SequenceRange[baseline.size()];
        baseline.together(index -> {
            LogitsStream stream = stream(baseline.on(index), candidate.on(index), text,
                    index == 0 ? progress : Progress.SILENT);
            ranges[index] = stream.range(baseline.crew().index(index), baseline.crew().devices());
            passes.set(index, compare(baseline.on(index), stream, text, ranges[index], tokens));
        });
        tokens.exchange(ranks, ranges[0].from() * text.length(), ranges[ranges.length - 1].to() * text.length());
        int length = text.length();
        Perplexity before = Perplexity.of(Perplexity.windowNll(tokens.baseline, length, baseline.first()), length,
                passes.getFirst().getFirst().seconds(), largest(ranks, passes, List::getFirst));
        Perplexity after = Perplexity.of(Perplexity.windowNll(tokens.candidate, length, candidate.first()), length,
                passes.getFirst().getLast().seconds(), largest(ranks, passes, List::getLast));
        return of(before, after, Divergence.of(tokens.kl, tokens.agrees, length));
    }

    /** Results for each token: cross-entropies, the divergence, and 1 where both predict the same token. */
    private record Tokens(double[] baseline, double[] candidate, double[] kl, int[] agrees) {
        private Tokens(int count) {
            this(new double[count], new double[count], new double[count], new int[count]);
        }

        /** Gives every rank the tokens [from, to) of the others. */
        private void exchange(Ranks ranks, int from, int to) {
            List<long[]> ranges = ranks.exchange(from, to);
            for (int rank = 0; rank < ranks.size(); rank++) {
                long first = ranges.get(rank)[0];
                long count = ranges.get(rank)[1] - first;
                for (MemorySegment all : List.of(MemorySegment.ofArray(baseline), MemorySegment.ofArray(candidate),
                        MemorySegment.ofArray(kl))) {
                    ranks.broadcast(rank, all.asSlice(first * Double.BYTES, count * Double.BYTES));
                }
                ranks.broadcast(rank,
                        MemorySegment.ofArray(agrees).asSlice(first * Integer.BYTES, count * Integer.BYTES));
            }
        }
    }

    /** Over all devices. */
    private static float largest(Ranks ranks, List<List<LogitsStream.Pass>> passes,
            Function<List<LogitsStream.Pass>, LogitsStream.Pass> model) {
        float largest = 0;
        for (List<LogitsStream.Pass> each : passes) {
            largest = Math.max(largest, model.apply(each).largestActivation());
        }
        for (long[] other : ranks.exchange(Float.floatToIntBits(largest))) {
            largest = Math.max(largest, Float.intBitsToFloat((int) other[0]));
        }
        return largest;
    }

    private static LogitsStream stream(Transformer baseline, Transformer candidate, TokenSequences text,
            Progress progress) {
        return new LogitsStream(
                List.of(new LogitsStream.Source(baseline, "baseline"), new LogitsStream.Source(candidate, "model")),
                text, progress, LogitsStream.Limits.DEFAULT);
    }

    /** Some of the windows, on one of several devices; returns each model's statistics. */
    private static List<LogitsStream.Pass> compare(Transformer baseline, LogitsStream stream, TokenSequences text,
            SequenceRange range, Tokens tokens) {
        Device device = baseline.device();
        try (TensorArena arena = device.arena()) {
            Tensor targets = Perplexity.targets(text, device, arena);
            Tensor baselineNll = arena.vector(DType.F64, text.tokens());
            Tensor candidateNll = arena.vector(DType.F64, text.tokens());
            Tensor kl = arena.vector(DType.F64, text.tokens());
            Tensor agrees = arena.vector(DType.I32, text.tokens());
            List<LogitsStream.Pass> passes = stream.run(range, (first, logits) -> {
                Tensor teacher = logits.getFirst();
                Tensor student = logits.getLast();
                long n = teacher.rows();
                Perplexity.crossEntropy(device, teacher, first, targets, baselineNll);
                Perplexity.crossEntropy(device, student, first, targets, candidateNll);
                device.neural().klDivergence(teacher, student, kl.columns(first, n), agrees.columns(first, n));
            });
            int from = range.from() * text.length();
            int count = range.count() * text.length();
            copy(device, baselineNll.columns(from, count), tokens.baseline, from);
            copy(device, candidateNll.columns(from, count), tokens.candidate, from);
            copy(device, kl.columns(from, count), tokens.kl, from);
            System.arraycopy(HostVectors.ints(device, agrees.columns(from, count)), 0, tokens.agrees, from, count);
            return passes;
        }
    }

    private static void copy(Device device, Tensor source, double[] target, int from) {
        double[] values = HostVectors.doubles(device, source);
        System.arraycopy(values, 0, target, from, values.length);
    }

    private static ModelComparison of(Perplexity baseline, Perplexity candidate, Divergence divergence) {
        return new ModelComparison(baseline, candidate, PerplexityComparison.of(baseline, candidate),
                PairedTest.of(PerplexityComparison.paired(baseline, candidate)), divergence);
    }

    /** Peak device memory of evaluate(), in bytes, for {@code windows} windows of {@code length} tokens. */
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
}
