package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * The divergence KL(teacher || model) of the next token's distribution (Hinton et al. 2015, arXiv 1503.02531, at
 * temperature 1). The teacher is the same model before it was changed: of it only the output of its last block is kept, from
 * which its logits are computed when they are needed.
 *
 * @param model the teacher, where its head is not that of the model's directory; null where it is
 * @param kept that head, where it stays on the device; null where it is loaded each time
 * @param outputs of its last block, one row per token of a text
 * @param sequences which of that text's sequences stand in the text that is run, in that order
 */
public record Teacher(@Nullable Transformer model, dev.optgptq.calibrate.weights.@Nullable Head kept,
        ActivationStore outputs, int[] sequences) implements Objective {

    /** With the same head. */
    public Teacher(ActivationStore outputs, int[] sequences) {
        this(null, null, outputs, sequences);
    }

    @Override
    public Head open(Transformer learner, TokenSequences text, dev.optgptq.calibrate.weights.Head head,
            TensorArena arena, long rows) {
        if (sequences.length != text.count()) {
            throw new IllegalArgumentException(
                    sequences.length + " sequences of the teacher for " + text.count() + " of the model");
        }
        Device device = learner.device();
        Transformer teacher = model == null ? learner : model.withProducts(learner.products());
        dev.optgptq.calibrate.weights.Head own = model == null
                ? head
                : kept != null ? kept : teacher.loadHead(arena);
        int hidden = learner.spec().hiddenSize();
        Tensor outputs = arena.matrix(DType.F32, rows, hidden);
        Tensor normed = arena.matrix(DType.F32, rows, hidden);
        Tensor expected = arena.matrix(DType.F32, rows, learner.spec().vocabSize());
        Tensor agrees = arena.vector(DType.I32, rows);
        return new Head() {
            @Override
            public void loss(long firstToken, Tensor logits, Tensor losses) {
                long n = logits.rows();
                read(device, text.length(), firstToken, outputs.rows(0, n));
                teacher.logits(own, outputs.rows(0, n), normed.rows(0, n), expected.rows(0, n));
                device.neural().klDivergence(expected.rows(0, n), logits, losses, agrees.columns(0, n));
            }

            @Override
            public void differentiate(Tensor logits, Tensor weights) {
                device.gradient().klGradient(expected.rows(0, logits.rows()), logits, weights);
            }
        };
    }

    /** Rows of one sequence after the other: chunks of tokens may begin and end anywhere. */
    private void read(Device device, int length, long firstToken, Tensor into) {
        for (long done = 0; done < into.rows();) {
            long token = firstToken + done;
            long within = token % length;
            long n = Math.min(length - within, into.rows() - done);
            long row = (long) sequences[Math.toIntExact(token / length)] * length + within;
            outputs.read(device, row, into.rows(done, n));
            done += n;
        }
    }
}
