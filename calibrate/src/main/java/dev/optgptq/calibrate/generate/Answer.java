package dev.optgptq.calibrate.generate;

/**
 * The answer to a request.
 *
 * @param tokens those that were chosen, a stop token left out
 * @param text of these tokens, up to a stop text
 * @param logProbabilities of each token among all, by the model itself: nats; empty if not requested
 */
public record Answer(int[] tokens, String text, double[] logProbabilities, Finish finish) {}
