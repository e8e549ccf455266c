package dev.optgptq.calibrate.eval;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;

/**
 * The floating-point operations that a model's arithmetic needs, two per multiply-add, whatever the implementation does.
 * Only products count; norms, activations and softmax are left out. They give the floor that measured times are held
 * against.
 */
public record FlopCount(ModelSpec spec) {

    /** The linears of one block, per token. */
    public double linears() {
        return spec.linears(0).stream().mapToDouble(linear -> 2.0 * linear.inputs() * linear.outputs()).sum();
    }

    /** Causal attention of one block, per sequence: query i has min(i, window) keys; q k^T, and the mix of v. */
    public double attention(long sequenceLength) {
        long window = spec.attention().window();
        double pairs = sequenceLength * (sequenceLength + 1.0) / 2;
        if (window > 0 && window < sequenceLength) {
            double beyond = sequenceLength - window;
            pairs -= beyond * (beyond + 1) / 2;
        }
        return 2 * 2 * pairs * spec.attention().queryWidth();
    }

    /** The output matrix, per token. */
    public double head() {
        return 2.0 * spec.hiddenSize() * spec.vocabSize();
    }

    /** The Hessian of a site, per token: one triangle with its diagonal. */
    public double hessian(InputSite site) {
        double n = spec.inputs(site);
        return n * (n + 1);
    }

    /**
     * The loss's gradient for every activation of sequences: every block forward and back, with one product for a linear's
     * input and five, one of them the forward pass's, for attention; the head both ways.
     *
     * @param again whether every block is computed again on the way back
     */
    public double gradients(long sequences, int sequenceLength, boolean again) {
        double forward = sequenceLength * linears() + attention(sequenceLength);
        double back = sequenceLength * linears() + 2.5 * attention(sequenceLength);
        double perBlock = (again ? 2 : 1) * forward + back;
        return sequences * (spec.blocks() * perBlock + 2 * sequenceLength * head());
    }

    /** Evaluating sequences: every block, and the head. */
    public double evaluation(long sequences, int sequenceLength) {
        double perBlock = sequenceLength * linears() + attention(sequenceLength);
        return sequences * (spec.blocks() * perBlock + sequenceLength * head());
    }
}
