package dev.optgptq.calibrate.model;

import java.util.Set;

/**
 * The floating-point operations that a model's arithmetic needs, two per multiply-add, whatever the implementation does.
 * Only products count; norms, activations and softmax are left out. They give the floor that measured times are held
 * against.
 */
public record FlopCount(ModelSpec spec) {

    /** The linears of one block. */
    public double linears(long tokens) {
        return spec.linears(0).stream()
                .mapToDouble(linear -> 2.0 * linear.inputs() * linear.outputs() * tokens)
                .sum();
    }

    /** Causal attention of one block for one sequence: query i has min(i, window) keys; q k^T and the mix of v. */
    public double attention(long sequenceLength) {
        long window = spec.attention().window();
        double seen = (double) sequenceLength * (sequenceLength + 1) / 2;
        if (window > 0 && window < sequenceLength) {
            double beyond = sequenceLength - window;
            seen -= beyond * (beyond + 1) / 2;
        }
        return 2 * 2 * seen * spec.attention().queryWidth();
    }

    /** The output matrix. */
    public double head(long tokens) {
        return 2.0 * spec.hiddenSize() * spec.vocabSize() * tokens;
    }

    /** The Hessians of one block: symmetric, so n (n + 1) / 2 multiply-adds per token and site. */
    public double hessians(long tokens, Set<InputSite> sites) {
        return sites.stream().mapToDouble(site -> (spec.inputs(site) + 1.0) * spec.inputs(site) * tokens).sum();
    }

    /** All blocks, without the head. */
    public double blocks(long sequences, int sequenceLength) {
        return spec.blocks() * (linears(sequences * sequenceLength) + sequences * attention(sequenceLength));
    }
}
