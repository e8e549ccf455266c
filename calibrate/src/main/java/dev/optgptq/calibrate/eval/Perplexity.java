package dev.optgptq.calibrate.eval;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;

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

    public static Perplexity evaluate(Transformer model, TokenSequences text, Progress progress) {
        throw new UnsupportedOperationException("not written yet");
    }
}
