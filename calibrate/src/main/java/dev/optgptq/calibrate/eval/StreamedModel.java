package dev.optgptq.calibrate.eval;

import dev.optgptq.calibrate.eval.LogitsStream.Sizes;
import dev.optgptq.calibrate.capture.Peak;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.calibrate.weights.Prefetch;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** One model of a {@link LogitsStream}: its head, the residual stream of a group, and the logits of a few of its tokens. */
final class StreamedModel {

    private final Transformer model;
    private final String purpose;
    private final Sizes sizes;
    private final LogitsStream.Steps steps;
    private final Head head;
    /** F32 [group tokens, hidden]. */
    private final Tensor x;
    private final Tensor normed;
    private final Tensor logits;
    private final Peak peak;
    /** Of the residual stream so far. */
    private float largest;
    private long nanos;

    /** @param arena owns what it holds */
    StreamedModel(LogitsStream.Source source, Sizes sizes, LogitsStream.Steps steps, TensorArena arena) {
        this.model = source.model();
        this.purpose = source.purpose();
        this.sizes = sizes;
        this.steps = steps;
        ModelSpec spec = model.spec();
        long start = System.nanoTime();
        this.head = model.loadHead(arena);
        this.x = arena.matrix(DType.F32, (long) sizes.group() * sizes.length(), spec.hiddenSize());
        this.normed = arena.matrix(DType.F32, sizes.logitsRows(), spec.hiddenSize());
        this.logits = arena.matrix(DType.F32, sizes.logitsRows(), spec.vocabSize());
        this.peak = new Peak(model.device(), arena);
        this.nanos = System.nanoTime() - start;
    }

    /** Device memory that it holds throughout. */
    static long heldBytes(ModelSpec spec, Sizes sizes) {
        long hidden = spec.hiddenSize();
        long stream = (long) sizes.group() * sizes.length() * hidden;
        long chunk = sizes.logitsRows() * (hidden + spec.vocabSize());
        return ModelMemory.headBytes(spec) + Float.BYTES * (stream + chunk) + Peak.BYTES;
    }

    /** Additional device memory of blocks(): the embedding table, F32 at most, and then one block. */
    static long runningBytes(ModelSpec spec, Sizes sizes) {
        long unpacking = spec.most(block -> block.linears().stream()
                .mapToLong(linear -> (long) linear.inputs() * linear.outputs()).max().orElse(0));
        long table = (long) spec.vocabSize() * spec.hiddenSize();
        return Math.max(Float.BYTES * table, Float.BYTES * unpacking + ModelMemory.streamedBytes(spec, DType.F32)
                + ModelMemory.workspaceBytes(spec, DType.F32, sizes.batch() * sizes.length(), sizes.length()));
    }

    LogitsStream.Pass pass() {
        return new LogitsStream.Pass(nanos * 1e-9, largest);
    }

    private void measure(Tensor group, String where) {
        peak.add(group);
        largest = peak.value();
        Peak.requireInNorms(largest, model.spec().hiddenSize(), model.path() + ": " + where + ", residual stream");
    }

    /** The residual stream after the last block: ids I32 [1, N], whole sequences, N at most those of a group. */
    void blocks(Tensor ids) {
        long start = System.nanoTime();
        Tensor group = x.rows(0, ids.columns());
        model.embed(ids, sizes.length(), group);
        measure(group, "embedding");
        long room = model.roomBeside(runningBytes(model.spec(), sizes));
        try (Prefetch prefetch = model.prefetch(room); TensorArena arena = model.device().arena()) {
            int batchTokens = sizes.batch() * sizes.length();
            Transformer.Workspace workspace = model.workspace(arena, batchTokens, sizes.length());
            for (int block = 0; block < model.spec().blocks(); block++) {
                prefetch.wants(block);
                block(block, group, workspace, batchTokens);
            }
        }
        nanos += System.nanoTime() - start;
    }

    private void block(int index, Tensor group, Transformer.Workspace workspace, long batchTokens) {
        String phase = purpose + ", block " + (index + 1) + "/" + model.spec().blocks();
        try (TensorArena arena = model.device().arena()) {
            BlockWeights block = model.streamBlock(index, arena);
            for (long row = 0; row < group.rows(); row += batchTokens) {
                Tensor rows = group.rows(row, Math.min(batchTokens, group.rows() - row));
                steps.begin(phase, rows.rows());
                model.forward(block, rows, workspace, InputTap.NONE);
            }
            // Waits for the device: the block's weights must outlive the ops that read them.
            measure(group, "block " + index);
        }
    }

    /** Logits F32 [n, vocabulary] of the group's tokens from {@code row} on; the next call overwrites them. */
    Tensor head(long row, long n) {
        steps.begin(purpose + ", head", n);
        long start = System.nanoTime();
        Tensor rows = logits.rows(0, n);
        model.logits(head, x.rows(row, n), normed.rows(0, n), rows);
        // So that each model's time is counted as its own.
        model.device().synchronize();
        nanos += System.nanoTime() - start;
        return rows;
    }
}
