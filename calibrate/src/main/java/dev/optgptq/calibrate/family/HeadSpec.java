package dev.optgptq.calibrate.family;

import org.jspecify.annotations.Nullable;

/**
 * How the residual stream becomes logits: cap(scale (w norm(x) + bias)).
 *
 * @param norm the final one; null where there is none
 * @param projection a linear [width, hidden] before the matrix (opt-350m), by its module
 * @param module of the matrix [vocabulary, width], without ".weight"; where it is tied, the name that duplicates of it have
 * @param tied whether the matrix is the embedding table
 * @param normalised whether the matrix's rows are divided by their lengths (baichuan 2)
 * @param scale multiplies the logits; 1 for none
 * @param softcap logits = cap tanh(logits / cap); 0 for none
 */
public record HeadSpec(@Nullable NormSpec norm, @Nullable String projection, int width, String module, boolean tied,
        boolean bias, boolean normalised, float scale, float softcap) {

    HeadSpec untied() {
        return new HeadSpec(norm, projection, width, module, false, bias, normalised, scale, softcap);
    }
}
