package dev.optgptq.gptq.convert.layer;

import dev.optgptq.gptq.convert.layer.ScoreGradient.Scores;
import dev.optgptq.kernels.Tensor;

/**
 * Some sequences of a score fit.
 *
 * @param inputs the converted layer's input, followed by a column of ones if there are biases
 * @param original the original's queries and keys
 */
record ScorePassage(Tensor inputs, Scores original) {

    long rows() {
        return inputs.rows();
    }

    ScorePassage rows(long from, long count) {
        return new ScorePassage(inputs.rows(from, count),
                new Scores(original.queries().rows(from, count), original.keys().rows(from, count)));
    }
}
