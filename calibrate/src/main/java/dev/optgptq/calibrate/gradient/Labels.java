package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;

/** What the loss asks of the model, token by token. */
public sealed interface Labels permits NextToken, SampledLabels {

    /**
     * Writes the labels of the tokens from {@code firstToken} on, counted over all sequences; that of a sequence's last
     * token means nothing.
     *
     * @param logits F32 [n, vocabulary] of those tokens
     * @param targets I32 [1, n], written
     */
    void choose(Device device, TokenSequences text, long firstToken, Tensor logits, Tensor targets);
}
