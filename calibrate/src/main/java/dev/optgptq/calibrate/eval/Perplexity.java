package dev.optgptq.calibrate.eval;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.apache.commons.math3.stat.StatUtils;

/**
 * Perplexity of a model over windows of text: per window the mean cross-entropy of its length - 1 predictions, averaged
 * over windows; perplexity is exp of that (notes/algorithms 2.6, the GPTQ paper's protocol).
 *
 * @param perplexity exp(meanNll)
 * @param meanNll nats per token, mean over windows
 * @param low lower end of the 95 % confidence interval of the perplexity (Student's t over windows); equals perplexity
 *     for one window
 * @param high its upper end
 * @param windowNll mean cross-entropy of each window, in order
 * @param window tokens per window
 * @param seconds wall time
 */
public record Perplexity(double perplexity, double meanNll, double low, double high, double[] windowNll, int window,
        double seconds) {

    /**
     * Evaluates a model. Throws UserError BAD_SETTING for windows without a prediction, BAD_TOKENIZER for ids outside the
     * vocabulary, NUMERIC when the model's output is not finite.
     */
    public static Perplexity evaluate(Transformer model, TokenSequences text, Progress progress) {
        if (text.length() < 2) {
            throw new UserError(UserError.Code.BAD_SETTING,
                    "a window of " + text.length() + " tokens holds no prediction; expected at least 2");
        }
        long start = System.nanoTime();
        double[] windowNll = windowMeans(tokenNll(model, text, progress), text);
        requireFinite(windowNll, model);
        return of(windowNll, text.length(), (System.nanoTime() - start) * 1e-9);
    }

    /** What evaluate() takes on the device at its peak, in bytes, for {@code windows} windows of {@code length} tokens. */
    public static long peakBytes(ModelSpec spec, int windows, int length) {
        return LogitsStream.peakBytes(spec, windows, length, LogitsStream.Limits.DEFAULT)
                + (long) windows * length * (Integer.BYTES + Double.BYTES);
    }

    /**
     * From the mean cross-entropy of each window, as an evaluation found them.
     *
     * @param windowNll nats, at least one
     */
    public static Perplexity of(double[] windowNll, int window, double seconds) {
        double mean = StatUtils.mean(windowNll);
        double half = StudentT.halfWidth(windowNll);
        return new Perplexity(Math.exp(mean), mean, Math.exp(mean - half), Math.exp(mean + half), windowNll, window,
                seconds);
    }

    /** Cross-entropy of each token's prediction of the next; that of a window's last token means nothing. */
    private static double[] tokenNll(Transformer model, TokenSequences text, Progress progress) {
        Device device = model.device();
        try (TensorArena arena = device.arena(); Arena host = Arena.ofShared()) {
            Tensor targets = arena.vector(DType.I32, text.tokens());
            device.upload(host.allocateFrom(ValueLayout.JAVA_INT, nextIds(text)), targets);
            Tensor nll = arena.vector(DType.F64, text.tokens());
            new LogitsStream(model, text, "evaluate", progress, LogitsStream.Limits.DEFAULT)
                    .run((first, logits) -> device.neural()
                            .crossEntropy(logits, targets.columns(first, logits.rows()),
                                    nll.columns(first, logits.rows())));
            MemorySegment result = host.allocate(ValueLayout.JAVA_DOUBLE, text.tokens());
            device.download(nll, result);
            return result.toArray(ValueLayout.JAVA_DOUBLE);
        }
    }

    /** For each token the id that follows it; the last one of the text has none and stands for itself. */
    private static int[] nextIds(TokenSequences text) {
        int[] ids = text.ids();
        int[] next = new int[ids.length];
        System.arraycopy(ids, 1, next, 0, ids.length - 1);
        next[ids.length - 1] = ids[ids.length - 1];
        return next;
    }

    private static double[] windowMeans(double[] tokenNll, TokenSequences text) {
        int predictions = text.length() - 1;
        double[] means = new double[text.count()];
        for (int window = 0; window < means.length; window++) {
            double sum = 0;
            for (int token = 0; token < predictions; token++) {
                sum += tokenNll[window * text.length() + token];
            }
            means[window] = sum / predictions;
        }
        return means;
    }

    private static void requireFinite(double[] windowNll, Transformer model) {
        for (int window = 0; window < windowNll.length; window++) {
            if (!Double.isFinite(windowNll[window])) {
                throw new UserError(UserError.Code.NUMERIC, model.path() + ": the cross-entropy of window " + window
                        + " is " + windowNll[window]
                        + "; expected a finite number: the weights overflow float32, or were"
                        + " damaged");
            }
        }
    }
}
