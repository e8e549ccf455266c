package dev.optgptq.calibrate.eval;

import java.util.Arrays;
import org.apache.commons.math3.stat.StatUtils;

/**
 * Divergence of a model's predictions from a baseline's. Unlike in the change of perplexity, gains and losses do not
 * cancel: every change of a distribution counts. Intervals are Student's t over windows, at 95 %, clamped to the
 * value's range; for one window they equal the value.
 *
 * @param kl Kullback-Leibler divergence of the model's next-token distribution from the baseline's, nats, mean over
 *     predictions
 * @param klMedian its median over predictions
 * @param klPercentile99 its 99th percentile over predictions: the rare bad ones
 * @param top1 share of the predictions with the same likeliest token
 */
public record Divergence(double kl, double klLow, double klHigh, double klMedian, double klPercentile99, double top1,
        double top1Low, double top1High) {

    private static final double MEDIAN = 50;
    private static final double RARE = 99;

    /**
     * @param tokenKl divergence at each token; a window's last token is not counted
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

    /** Without the last token of each window, whose next token is not in the window. */
    private static double[] predictions(double[] tokens, int window) {
        int kept = window - 1;
        double[] predictions = new double[tokens.length / window * kept];
        for (int at = 0; at < predictions.length / kept; at++) {
            System.arraycopy(tokens, at * window, predictions, at * kept, kept);
        }
        return predictions;
    }
}
