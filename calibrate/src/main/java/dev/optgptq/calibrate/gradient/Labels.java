package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** The cross-entropy of a label for each token; implementations differ in the label. */
public sealed interface Labels extends Objective permits NextToken, SampledLabels {

    /**
     * Writes the labels of the tokens from {@code firstToken} on, counted over all sequences; that of a sequence's last
     * token is undefined.
     *
     * @param logits F32 [n, vocabulary] of those tokens
     * @param targets I32 [1, n], written
     */
    void choose(Device device, TokenSequences text, long firstToken, Tensor logits, Tensor targets);

    @Override
    default Head open(Transformer model, TokenSequences text, dev.optgptq.calibrate.weights.Head head,
            TensorArena arena, long rows) {
        Device device = model.device();
        Tensor labels = arena.vector(DType.I32, rows);
        return new Head() {
            @Override
            public void loss(long firstToken, Tensor logits, Tensor losses) {
                Tensor targets = labels.columns(0, logits.rows());
                choose(device, text, firstToken, logits, targets);
                device.neural().crossEntropy(logits, targets, losses);
            }

            @Override
            public void differentiate(Tensor logits, Tensor weights) {
                device.gradient().crossEntropyGradient(logits, labels.columns(0, logits.rows()), weights);
            }
        };
    }
}
