package dev.optgptq.calibrate.eval;

import java.util.function.ToDoubleFunction;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;

/**
 * The floating-point operations that a model's arithmetic needs, two per multiply-add, independent of the
 * implementation. Only matmuls count, not norms, activations and softmax. They give the floor for measured times.
 */
public record FlopCount(ModelSpec spec) {

    /** The linears of one block, per token that passes all of them; of experts those that a token uses. */
    public double linears(BlockSpec block) {
        double passed = 0;
        for (LinearSpec linear : block.linears()) {
            passed += share(block, linear) * linear.inputs() * linear.outputs();
        }
        return 2 * passed;
    }

    /** How many of the tokens pass a linear, on average. */
    public static double share(BlockSpec block, LinearSpec linear) {
        return linear.site().ofExpert() && block.feedForward() instanceof FeedForward.Experts experts
                ? (double) experts.router().active() / experts.router().experts()
                : 1;
    }

    /** Causal attention of one block, per sequence: query i has min(i, window) keys; q k^T, and the mix of v. */
    public double attention(BlockSpec block, long sequenceLength) {
        return switch (block.mixer()) {
            case Mixer.Attention form -> 2 * 2 * pairs(sequenceLength, form.window()) * form.queryWidth();
            case Mixer.LatentAttention form ->
                2 * pairs(sequenceLength, 0) * form.heads() * (form.headDim() + form.valueDim());
            case Mixer.DeltaNet form ->
                // The state decays, is read twice, and is updated once (an outer product).
                2.0 * 3 * sequenceLength * form.valueHeads() * form.keyDim() * form.valueDim();
        };
    }

    private static double pairs(long sequenceLength, long window) {
        double pairs = sequenceLength * (sequenceLength + 1.0) / 2;
        if (window > 0 && window < sequenceLength) {
            double beyond = sequenceLength - window;
            pairs -= beyond * (beyond + 1) / 2;
        }
        return pairs;
    }

    private double ofBlocks(ToDoubleFunction<BlockSpec> of) {
        return spec.blockSpecs().stream().mapToDouble(of).sum();
    }

    /** The output matrix, per token. */
    public double head() {
        return 2.0 * spec.head().width() * spec.vocabSize();
    }

    /** The Hessian of a site, per token: one triangle with its diagonal. */
    public static double hessian(BlockSpec block, InputSite site) {
        double n = block.inputs(site);
        return n * (n + 1);
    }

    /**
     * The loss's gradient for every activation of sequences: every block forward and backward, with one matmul for a
     * linear's input and five for attention, one of them the forward pass's; the head forward and backward.
     *
     * @param again whether every block is recomputed in the backward pass
     */
    public double gradients(long sequences, int sequenceLength, boolean again) {
        double linears = sequenceLength * ofBlocks(this::linears);
        double attention = ofBlocks(block -> attention(block, sequenceLength));
        double forward = linears + attention;
        double back = linears + 2.5 * attention;
        return sequences * ((again ? 2 : 1) * forward + back + 2 * sequenceLength * head());
    }

    /** Evaluating sequences: every block, and the head. */
    public double evaluation(long sequences, int sequenceLength) {
        double blocks = sequenceLength * ofBlocks(this::linears) + ofBlocks(block -> attention(block, sequenceLength));
        return sequences * (blocks + sequenceLength * head());
    }
}
