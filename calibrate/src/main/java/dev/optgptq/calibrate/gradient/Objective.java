package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** The loss to minimize, per token: a function of the model's logits. */
public sealed interface Objective permits Labels, Teacher {

    /**
     * Prepares for up to {@code rows} tokens at a time.
     *
     * @param head the model's own, whichever head the logits come from
     * @param arena owns what it needs for that
     */
    Head open(Transformer model, TokenSequences text, dev.optgptq.calibrate.weights.Head head, TensorArena arena,
            long rows);

    /** Evaluates some tokens: first their loss, then optionally the gradient of the same tokens. */
    interface Head {

        /**
         * The loss of the tokens from {@code firstToken} on, counted over all sequences.
         *
         * @param logits F32 [n, vocabulary]
         * @param losses F64 [1, n], written; in nats
         */
        void loss(long firstToken, Tensor logits, Tensor losses);

        /**
         * logits[r] = weights[r] times the gradient of token r's loss for its logits, in place.
         *
         * @param weights F32 [1, n]
         */
        void differentiate(Tensor logits, Tensor weights);
    }
}
