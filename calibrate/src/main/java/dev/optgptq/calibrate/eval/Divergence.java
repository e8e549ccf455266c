package dev.optgptq.calibrate.eval;

import java.util.Arrays;
import org.apache.commons.math3.stat.StatUtils;

/**
 * How far a model's predictions are from a baseline's. Unlike the change of perplexity, in which what got better hides what
 * got worse, no change of a distribution goes unseen. Intervals are Student's t over windows, at 95 %, cut to what the value
 * can be; they equal the value for one window.
 *
 * @param kl Kullback-Leibler divergence of the model's next-token distribution from the baseline's, nats, mean over
 *     predictions
 * @param klMedian its median over predictions
 * @param klPercentile99 its 99th percentile over predictions: how bad the rare ones are
 * @param top1 share of the predictions in which both hold the same token for the likeliest
 */
public record Divergence(double kl, double klLow, double klHigh, double klMedian, double klPercentile99, double top1,
        double top1Low, double top1High) {

    private static final double MEDIAN = 50;
    private static final double RARE = 99;

    /**
     * @param tokenKl divergence at each token; that of a window's last token does not count
     * @param tokenAgrees 1 where the likeliest tokens agree, else 0
     * @param window tokens per window
     */
    static Divergence of(double[] tokenKl, int[] tokenAgrees, int window) {
        double[] kl = Perplexity.windowMeans(tokenKl, window);
        double[] top1 = Perplexity.windowMeans(Arrays.stream(tokenAgrees).asDoubleStream().toArray(), window);
        double klMean = StatUtils.mean(kl);
        double klHalf = StudentT.halfWidth(kl);
        double top1Mean = StatUtils.mean(top1);
        double top1Half = StudentT.halfWidth(top1);
        double[] predictions = predictions(tokenKl, window);
        return new Divergence(klMean, Math.max(0, klMean - klHalf), klMean + klHalf,
                StatUtils.percentile(predictions, MEDIAN), StatUtils.percentile(predictions, RARE), top1Mean,
                Math.max(0, top1Mean - top1Half), Math.min(1, top1Mean + top1Half));
    }

    /** Without the last token of each window, which predicts what the window does not hold. */
    private static double[] predictions(double[] tokens, int window) {
        int kept = window - 1;
        double[] predictions = new double[tokens.length / window * kept];
        for (int at = 0; at < predictions.length / kept; at++) {
            System.arraycopy(tokens, at * window, predictions, at * kept, kept);
        }
        return predictions;
    }
}
