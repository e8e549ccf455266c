package dev.optgptq.calibrate.generate;

import java.util.List;
import java.util.Set;

/**
 * A prompt and what is wanted for it.
 *
 * @param prompt its tokens, at least one
 * @param maxTokens of the answer, at least one
 * @param stream distinguishes the draws of requests with the same seed
 * @param stopTokens end the answer
 * @param stopTexts end the answer where they appear
 * @param logProbabilities whether to return those of the answer's tokens
 */
public record Request(int[] prompt, int maxTokens, Sampling sampling, long stream, Set<Integer> stopTokens,
        List<String> stopTexts, boolean logProbabilities) {

    public Request {
        if (prompt.length < 1 || maxTokens < 1) {
            throw new IllegalArgumentException(
                    "a prompt of " + prompt.length + " tokens, an answer of at most " + maxTokens);
        }
        stopTokens = Set.copyOf(stopTokens);
        stopTexts = List.copyOf(stopTexts);
    }
}
