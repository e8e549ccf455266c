package dev.optgptq.calibrate.generate;

import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/** Chooses one sequence's tokens from logits. Its draws are its own, so that they do not depend on other sequences. */
final class Sampler {

    private final Sampling sampling;
    private final SplittableRandom random;
    private final Set<Integer> seen = new HashSet<>();

    /** @param stream distinguishes the draws of sequences with the same seed */
    Sampler(Sampling sampling, long stream) {
        this.sampling = sampling;
        this.random = new SplittableRandom(sampling.seed() * 0x9E3779B97F4A7C15L + stream);
    }

    /** Tokens so far, for the repetition penalty. */
    void see(int... tokens) {
        if (sampling.repetition() != 1) {
            IntStream.of(tokens).forEach(seen::add);
        }
    }

    /** @param logits of the whole vocabulary, finite; not changed */
    int choose(float[] logits) {
        double[] scores = new double[logits.length];
        for (int i = 0; i < logits.length; i++) {
            scores[i] = logits[i];
        }
        for (int token : seen) {
            scores[token] = scores[token] > 0
                    ? scores[token] / sampling.repetition()
                    : scores[token] * sampling.repetition();
        }
        if (sampling.temperature() == 0) {
            return likeliest(scores, 1).getFirst();
        }
        int most = sampling.topK() == 0 ? scores.length : Math.min(sampling.topK(), scores.length);
        return draw(scores, most == scores.length && sampling.topP() == 1
                ? IntStream.range(0, scores.length).boxed().toList()
                : likeliest(scores, most));
    }

    /** The likeliest tokens, in order; of equal ones the first. */
    static List<Integer> likeliest(double[] scores, int count) {
        Comparator<Integer> worstFirst = Comparator.<Integer>comparingDouble(token -> scores[token])
                .thenComparing(Comparator.reverseOrder());
        PriorityQueue<Integer> best = new PriorityQueue<>(Math.max(1, count), worstFirst);
        for (int token = 0; token < scores.length; token++) {
            if (best.size() < count) {
                best.add(token);
            } else if (scores[token] > scores[best.element()]) {
                best.remove();
                best.add(token);
            }
        }
        return best.stream().sorted(worstFirst.reversed()).toList();
    }

    private int draw(double[] scores, List<Integer> tokens) {
        double most = tokens.stream().mapToDouble(token -> scores[token]).max().orElseThrow();
        double[] weights = new double[tokens.size()];
        double total = 0;
        for (int i = 0; i < weights.length; i++) {
            weights[i] = Math.exp((scores[tokens.get(i)] - most) / sampling.temperature());
            total += weights[i];
        }
        int kept = weights.length;
        if (sampling.topP() < 1) {
            // Includes the token with which the share is reached.
            double reached = 0;
            kept = 0;
            while (kept < weights.length && (kept == 0 || reached < sampling.topP() * total)) {
                reached += weights[kept++];
            }
            total = reached;
        }
        double left = random.nextDouble() * total;
        for (int i = 0; i < kept; i++) {
            left -= weights[i];
            if (left < 0) {
                return tokens.get(i);
            }
        }
        return tokens.get(kept - 1);
    }

    /** log of the softmax of logits at a token, in nats. */
    static double logProbability(float[] logits, int token) {
        double most = Double.NEGATIVE_INFINITY;
        for (float logit : logits) {
            most = Math.max(most, logit);
        }
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit - most);
        }
        return logits[token] - most - Math.log(sum);
    }
}
