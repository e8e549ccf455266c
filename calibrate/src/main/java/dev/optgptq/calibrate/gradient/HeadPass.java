package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** The loss and its gradient for the last block's output, logits in chunks. */
final class HeadPass {

    private final GradientStream stream;
    private final Transformer model;
    private final Head head;
    private final @Nullable Head gradients;
    private final Tensor normed;
    private final Tensor logits;
    private final Tensor losses;
    private final Objective.Head objective;

    /**
     * @param own the model's, which the objective uses
     * @param head that the logits come from
     * @param gradients tensors that sum those of the head's parameters; null if they are not wanted
     * @param arena owns what it allocates
     * @param rows of the largest batch
     */
    HeadPass(GradientStream stream, Head own, Head head, @Nullable Head gradients, TensorArena arena, int rows) {
        this.stream = stream;
        this.model = stream.model();
        this.head = head;
        this.gradients = gradients;
        int vocabulary = model.spec().vocabSize();
        long chunk = stream.limits().logitsRows(model.spec(), rows);
        this.normed = arena.matrix(DType.F32, chunk, model.spec().hiddenSize());
        this.logits = arena.matrix(DType.F32, chunk, vocabulary);
        this.losses = arena.vector(DType.F64, chunk);
        this.objective = stream.objective().open(model, stream.text(), own, arena, chunk);
    }

    /**
     * Device memory of it and the head, with chunks of a number of tokens. While the head is loaded, a copy in its
     * stored dtype, mostly fp16/bf16, is there too.
     */
    static long bytes(ModelSpec spec, long chunk) {
        long stored = (long) DType.BF16.bytes() * spec.vocabSize() * spec.hiddenSize();
        long buffers = Float.BYTES * chunk * ((long) spec.hiddenSize() + spec.vocabSize() + 4);
        return ModelMemory.headBytes(spec) + Math.max(stored, buffers);
    }

    /**
     * Some tokens.
     *
     * @param x F32 [n, hidden], the last block's output
     * @param d F32 [n, hidden], the gradient for x, written; null if it is not wanted
     */
    void run(long firstToken, Tensor x, @Nullable Tensor d, float factor, GradientStream.Listener listener) {
        Device device = model.device();
        for (long row = 0; row < x.rows(); row += logits.rows()) {
            long n = Math.min(logits.rows(), x.rows() - row);
            Tensor chunk = logits.rows(0, n);
            Tensor found = losses.columns(0, n);
            model.logits(head, x.rows(row, n), normed.rows(0, n), chunk);
            objective.loss(firstToken + row, chunk, found);
            listener.loss(firstToken + row, found);
            if (d == null) {
                continue;
            }
            try (TensorArena scratch = device.arena()) {
                Tensor logitsAsTheyAre = capped(scratch, chunk);
                objective.differentiate(chunk, weights(scratch, firstToken + row, n, factor));
                model.backward().head(head, x.rows(row, n), normed.rows(0, n), logitsAsTheyAre, chunk, d.rows(row, n),
                        gradients);
                device.synchronize();
            }
        }
    }

    /** The logits, which the gradient of a cap needs too; otherwise no copy is made. */
    private Tensor capped(TensorArena scratch, Tensor chunk) {
        if (head.spec().softcap() == 0) {
            return chunk;
        }
        Tensor copy = scratch.matrix(DType.F32, chunk.rows(), chunk.columns());
        model.device().matrix().copy(chunk, copy);
        return copy;
    }

    /** The factor, and 0 for the last token of a sequence, which predicts nothing. */
    private Tensor weights(TensorArena arena, long firstToken, long n, float factor) {
        Tensor weights = arena.vector(DType.F32, n);
        try (Arena host = Arena.ofShared()) {
            MemorySegment values = host.allocate(ValueLayout.JAVA_FLOAT, n);
            for (long i = 0; i < n; i++) {
                boolean last = (firstToken + i + 1) % stream.text().length() == 0;
                values.setAtIndex(ValueLayout.JAVA_FLOAT, i, last ? 0 : factor);
            }
            model.device().upload(values, weights);
            model.device().synchronize();
        }
        return weights;
    }
}
