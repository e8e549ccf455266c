package dev.optgptq.calibrate.eval;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.BlockWeights;
import dev.optgptq.calibrate.model.Head;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/**
 * Runs sequences through the whole model with one block of weights in memory: for groups of sequences whose residual
 * stream fits a budget, block by block, batch by batch. A group is so large that decoding a block's weights again for
 * each costs nothing beside the arithmetic.
 *
 * @param purpose what it is for, in the phases that are reported: "evaluate"
 */
record LogitsStream(Transformer model, TokenSequences text, String purpose, Progress progress, Limits limits) {

    /**
     * How much is done at once.
     *
     * @param batchTokens tokens per batch, where sequences allow: large enough for matrix products to run at full speed
     * @param groupBytes size of a group's residual stream
     * @param logitsBytes logits that exist at one time
     */
    record Limits(int batchTokens, long groupBytes, long logitsBytes) {
        static final Limits DEFAULT = new Limits(2048, 256L << 20, 64L << 20);
    }

    /**
     * What is done at once, under given limits.
     *
     * @param batch sequences in a forward pass
     * @param group sequences whose residual stream is held
     * @param logitsRows tokens whose logits exist at one time
     */
    private record Sizes(int batch, int group, long logitsRows) {

        static Sizes of(ModelSpec spec, int count, int length, Limits limits) {
            int batch = Math.clamp(limits.batchTokens() / length, 1, count);
            long sequenceBytes = (long) length * spec.hiddenSize() * Float.BYTES;
            int group = Math.clamp(limits.groupBytes() / sequenceBytes, batch, count);
            long vocabularyBytes = (long) spec.vocabSize() * Float.BYTES;
            return new Sizes(batch, group, Math.clamp(limits.logitsBytes() / vocabularyBytes, 1, batch * length));
        }
    }

    /** What run() takes on the device at its peak, for {@code count} sequences of {@code length} tokens. */
    static long peakBytes(ModelSpec spec, int count, int length, Limits limits) {
        Sizes sizes = Sizes.of(spec, count, length, limits);
        long hidden = spec.hiddenSize();
        long head = hidden * (spec.vocabSize() + 2L);
        long stream = (long) sizes.group() * length * (hidden + 1);
        long chunk = sizes.logitsRows() * (hidden + spec.vocabSize());
        long unpacking = spec.linears(0).stream().mapToLong(linear -> (long) linear.inputs() * linear.outputs()).max()
                .orElse(0);
        return Float.BYTES * (head + stream + chunk + unpacking) + Transformer.blockBytes(spec, DType.F32)
                + Transformer.workspaceBytes(spec, DType.F32, sizes.batch() * length, length);
    }

    /** Takes logits F32 [n, vocabulary] of the tokens from {@code firstToken} on; they are valid during the call only. */
    @FunctionalInterface
    interface Consumer {
        void accept(long firstToken, Tensor logits);
    }

    void run(Consumer consumer) {
        text.requireVocabulary(model.spec().vocabSize());
        Device device = model.device();
        int length = text.length();
        Sizes sizes = Sizes.of(model.spec(), text.count(), length, limits);
        int batch = sizes.batch();
        int group = sizes.group();
        try (TensorArena arena = device.arena()) {
            Head head = model.loadHead(arena);
            Transformer.Workspace workspace = model.workspace(arena, batch * length, length);
            Tensor ids = arena.vector(DType.I32, (long) group * length);
            Tensor x = arena.matrix(DType.F32, (long) group * length, model.spec().hiddenSize());
            HeadChunks chunks = new HeadChunks(head,
                    arena.matrix(DType.F32, sizes.logitsRows(), model.spec().hiddenSize()),
                    arena.matrix(DType.F32, sizes.logitsRows(), model.spec().vocabSize()));
            for (int first = 0; first < text.count(); first += group) {
                long tokens = (long) Math.min(group, text.count() - first) * length;
                Tensor groupIds = ids.columns(0, tokens);
                Tensor groupX = x.rows(0, tokens);
                text.upload(device, first, groupIds);
                model.embed(groupIds, groupX);
                blocks(groupX, workspace, (long) batch * length, (long) first * length);
                chunks.run(groupX, (long) first * length, consumer);
            }
            device.synchronize();
        }
    }

    private void blocks(Tensor x, Transformer.Workspace workspace, long batchTokens, long tokensBefore) {
        int blocks = model.spec().blocks();
        for (int index = 0; index < blocks; index++) {
            String phase = purpose + ", block " + (index + 1) + "/" + blocks;
            try (TensorArena arena = model.device().arena()) {
                BlockWeights block = model.loadBlock(index, arena);
                for (long row = 0; row < x.rows(); row += batchTokens) {
                    long done = tokensBefore * (blocks + 1) + x.rows() * index + row;
                    progress.at(phase, done, text.tokens() * (blocks + 1));
                    Tensor rows = x.rows(row, Math.min(batchTokens, x.rows() - row));
                    model.forward(block, rows, workspace, InputTap.NONE);
                }
                // The block's weights must outlive the ops that read them.
                model.device().synchronize();
            }
        }
    }

    /** The head over a few rows at a time: logits of a whole batch can be larger than the model. */
    private final class HeadChunks {
        private final Head head;
        private final Tensor normed;
        private final Tensor logits;

        private HeadChunks(Head head, Tensor normed, Tensor logits) {
            this.head = head;
            this.normed = normed;
            this.logits = logits;
        }

        private void run(Tensor x, long tokensBefore, Consumer consumer) {
            int blocks = model.spec().blocks();
            for (long row = 0; row < x.rows(); row += logits.rows()) {
                long done = tokensBefore * (blocks + 1) + x.rows() * blocks + row;
                progress.at(purpose + ", head", done, text.tokens() * (blocks + 1));
                long n = Math.min(logits.rows(), x.rows() - row);
                model.logits(head, x.rows(row, n), normed.rows(0, n), logits.rows(0, n));
                consumer.accept(tokensBefore + row, logits.rows(0, n));
            }
            progress.at(purpose, (tokensBefore + x.rows()) * (blocks + 1), text.tokens() * (blocks + 1));
        }
    }
}
