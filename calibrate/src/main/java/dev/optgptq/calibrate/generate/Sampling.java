package dev.optgptq.calibrate.generate;

import dev.optgptq.formats.UserError;

/**
 * How the next token is chosen, in the order of transformers: repetition penalty, temperature, the topK likeliest, the
 * likeliest whose probabilities add up to topP.
 *
 * @param temperature divides the logits; 0 takes the likeliest token
 * @param topK 0 for all
 * @param topP 1 for all (Holtzman et al., arXiv 1904.09751)
 * @param repetition divides positive logits of tokens so far, and multiplies negative ones; 1 for none (Keskar et al.,
 *     arXiv 1909.05858)
 * @param seed of the draws
 */
public record Sampling(double temperature, int topK, double topP, double repetition, long seed) {

    public static final Sampling GREEDY = new Sampling(0, 0, 1, 1, 0);

    public Sampling {
        require(temperature >= 0 && Double.isFinite(temperature), "temperature", temperature,
                "0, which takes the likeliest token, or more");
        require(topK >= 0, "top-k", topK, "0, which takes all tokens, or more");
        require(topP > 0 && topP <= 1, "top-p", topP, "a share above 0, up to 1");
        require(repetition > 0 && Double.isFinite(repetition), "repetition penalty", repetition,
                "a number above 0; 1 is none");
    }

    private static void require(boolean holds, String name, Number found, String expected) {
        if (!holds) {
            throw new UserError(UserError.Code.BAD_SETTING, name + ": expected " + expected + ", found " + found);
        }
    }

    /** Whether decoding is greedy, so that the device can choose. */
    public boolean isArgmax() {
        return (temperature == 0 || topK == 1) && repetition == 1;
    }
}
