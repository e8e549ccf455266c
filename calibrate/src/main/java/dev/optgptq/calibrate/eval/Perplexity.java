package dev.optgptq.calibrate.eval;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.SequenceRange;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.apache.commons.math3.stat.StatUtils;
import org.jspecify.annotations.Nullable;

/**
 * Perplexity of a model over windows of text: per window the mean cross-entropy of its length - 1 predictions, averaged
 * over windows; perplexity is exp of that (docs/algorithms.md, section 10; the GPTQ paper's protocol).
 *
 * @param perplexity exp(meanNll)
 * @param meanNll nats per token, mean over windows
 * @param low lower end of the 95 % confidence interval of the perplexity (Student's t over windows); equals perplexity
 *     for one window
 * @param high its upper end
 * @param windowNll mean cross-entropy of each window, in order
 * @param window tokens per window
 * @param seconds wall time
 * @param largestActivation the largest magnitude of the residual stream; null where it is not known
 */
public record Perplexity(double perplexity, double meanNll, double low, double high, double[] windowNll, int window,
        double seconds, @Nullable Float largestActivation) {

    /**
     * Evaluates a model. Throws UserError BAD_SETTING for windows without a prediction, BAD_TOKENIZER for ids outside the
     * vocabulary, NUMERIC when the model's output is not finite.
     */
    public static Perplexity evaluate(Transformer model, TokenSequences text, Progress progress) {
        return evaluate(Replicas.of(model), text, progress);
    }

    /** The same on several devices, each with some of the windows. */
    public static Perplexity evaluate(Replicas models, TokenSequences text, Progress progress) {
        requirePredictions(text);
        long start = System.nanoTime();
        double[] tokenNll = new double[Math.toIntExact(text.tokens())];
        float[] largest = new float[models.size()];
        models.together(index -> largest[index] = tokenNll(models, index, text,
                index == 0 ? progress : Progress.SILENT, tokenNll));
        double[] windowNll = windowNll(tokenNll, text.length(), models.first());
        float peak = 0;
        for (float each : largest) {
            peak = Math.max(peak, each);
        }
        return of(windowNll, text.length(), (System.nanoTime() - start) * 1e-9, peak);
    }

    /** Peak device memory of evaluate(), in bytes, for {@code windows} windows of {@code length} tokens. */
    public static long peakBytes(ModelSpec spec, int windows, int length) {
        return LogitsStream.peakBytes(List.of(spec), windows, length, LogitsStream.Limits.DEFAULT)
                + (long) windows * length * (Integer.BYTES + Double.BYTES);
    }

    /**
     * From the mean cross-entropy of each window, as an evaluation found them.
     *
     * @param windowNll nats, at least one
     */
    public static Perplexity of(double[] windowNll, int window, double seconds) {
        return of(windowNll, window, seconds, null);
    }

    /** The same with the largest magnitude of the residual stream. */
    public static Perplexity of(double[] windowNll, int window, double seconds, @Nullable Float largestActivation) {
        double mean = StatUtils.mean(windowNll);
        double half = StudentT.halfWidth(windowNll);
        return new Perplexity(Math.exp(mean), mean, Math.exp(mean - half), Math.exp(mean + half), windowNll, window,
                seconds, largestActivation);
    }

    /** Throws UserError BAD_SETTING for windows of a single token. */
    static void requirePredictions(TokenSequences text) {
        if (text.length() < 2) {
            throw new UserError(UserError.Code.BAD_SETTING,
                    "a window of " + text.length() + " tokens holds no prediction; expected at least 2");
        }
    }

    /**
     * Cross-entropy of each token's prediction of the next; that of a window's last token is undefined. Returns the
     * largest magnitude of the residual stream.
     */
    private static float tokenNll(Replicas models, int index, TokenSequences text, Progress progress, double[] found) {
        Transformer model = models.on(index);
        Device device = model.device();
        try (TensorArena arena = device.arena()) {
            Tensor targets = targets(text, device, arena);
            Tensor nll = arena.vector(DType.F64, text.tokens());
            LogitsStream stream = new LogitsStream(List.of(new LogitsStream.Source(model, "evaluate")), text, progress,
                    LogitsStream.Limits.DEFAULT);
            SequenceRange range = stream.range(index, models.size());
            LogitsStream.Pass pass = stream
                    .run(range, (first, logits) -> crossEntropy(device, logits.getFirst(), first, targets, nll))
                    .getFirst();
            int from = range.from() * text.length();
            int count = range.count() * text.length();
            System.arraycopy(HostVectors.doubles(device, nll.columns(from, count)), 0, found, from, count);
            return pass.largestActivation();
        }
    }

    /** I32 [1, N]: for each token the id that follows it; the last one of the text has none and uses its own. */
    static Tensor targets(TokenSequences text, Device device, TensorArena arena) {
        int[] ids = text.ids();
        int[] next = new int[ids.length];
        System.arraycopy(ids, 1, next, 0, ids.length - 1);
        next[ids.length - 1] = ids[ids.length - 1];
        Tensor targets = arena.vector(DType.I32, ids.length);
        try (Arena host = Arena.ofShared()) {
            device.upload(host.allocateFrom(ValueLayout.JAVA_INT, next), targets);
            device.synchronize();
        }
        return targets;
    }

    /** nll[first, first + n) from logits F32 [n, vocabulary] of these tokens; targets, nll [1, N]. */
    static void crossEntropy(Device device, Tensor logits, long first, Tensor targets, Tensor nll) {
        device.neural().crossEntropy(logits, targets.columns(first, logits.rows()), nll.columns(first, logits.rows()));
    }

    /** Mean cross-entropy of each window; throws UserError NUMERIC that names the model when one is not finite. */
    static double[] windowNll(double[] tokenNll, int length, Transformer model) {
        double[] windowNll = windowMeans(tokenNll, length);
        for (int window = 0; window < windowNll.length; window++) {
            if (!Double.isFinite(windowNll[window])) {
                throw new UserError(UserError.Code.NUMERIC, model.path() + ": the cross-entropy of window " + window
                        + " is " + windowNll[window]
                        + "; expected a finite number: the weights overflow float32, or were"
                        + " damaged");
            }
        }
        return windowNll;
    }

    /** For each window of {@code length} tokens the mean over its predictions, which are those of all but its last token. */
    static double[] windowMeans(double[] tokenValues, int length) {
        int predictions = length - 1;
        double[] means = new double[tokenValues.length / length];
        for (int window = 0; window < means.length; window++) {
            double sum = 0;
            for (int token = 0; token < predictions; token++) {
                sum += tokenValues[window * length + token];
            }
            means[window] = sum / predictions;
        }
        return means;
    }
}
