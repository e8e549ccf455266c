package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.SequenceRange;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.BlockWeights;
import dev.optgptq.calibrate.model.Head;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.ModelSpec;
import dev.optgptq.calibrate.model.OutputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Runs sequences forward and backward through the whole model. Groups of sequences go through it one after the other: of
 * a group, the input of every block is kept; of the model, one block at a time. The loss is the sum, over all tokens but
 * the last of each sequence, of the objective, times a factor.
 *
 * @param blocks where the weights of a block come from: model::loadBlock, or others of the same shapes
 * @param purpose what it is for, in the phases that are reported: "gradients"
 */
public record GradientStream(Transformer model, Blocks blocks, TokenSequences text, Objective objective, String purpose,
        Progress progress, Limits limits) {

    /** Gives the weights of a block, which the arena owns. */
    @FunctionalInterface
    public interface Blocks {
        BlockWeights load(int block, TensorArena arena);
    }

    /**
     * How much is done at once.
     *
     * @param batchTokens tokens per batch, where sequences allow
     * @param groupBytes size of the block inputs of a group
     * @param logitsBytes logits that exist at one time
     * @param memoryBytes above which the inputs of a block go to a temporary file
     */
    public record Limits(int batchTokens, long groupBytes, long logitsBytes, long memoryBytes) {
        public static final Limits DEFAULT = new Limits(2048, 256L << 20, 64L << 20, Long.MAX_VALUE);

        private long logitsRows(ModelSpec spec, int rows) {
            return Math.clamp(logitsBytes / ((long) spec.vocabSize() * Float.BYTES), 1, rows);
        }
    }

    /** Sequences of a batch. */
    public int batch() {
        return batch(text, limits);
    }

    private static int batch(TokenSequences text, Limits limits) {
        return Math.clamp(limits.batchTokens() / text.length(), 1, text.count());
    }

    /** Sequences of a group: whole batches, so that how these are made up does not depend on its size. */
    private static int group(ModelSpec spec, TokenSequences text, Limits limits) {
        int batch = batch(text, limits);
        int fitting = Math.clamp(limits.groupBytes() / inputBytes(spec, text.length()), batch, text.count());
        return fitting / batch * batch;
    }

    /** The block inputs of some tokens. */
    private static long inputBytes(ModelSpec spec, long tokens) {
        return (spec.blocks() + 1L) * tokens * spec.hiddenSize() * Float.BYTES;
    }

    /** The block inputs of a group, in memory or in a temporary file. */
    public static long inputBytes(ModelSpec spec, TokenSequences text, Limits limits) {
        return inputBytes(spec, (long) group(spec, text, limits) * text.length());
    }

    /** The most that a run allocates on the device at one time, without gradients of parameters. */
    public static long deviceBytes(ModelSpec spec, TokenSequences text, Limits limits) {
        int rows = batch(text, limits) * text.length();
        long scratch = Transformer.backwardWorkspaceBytes(spec, rows, text.length())
                + Float.BYTES * (rows * (2L * spec.hiddenSize() + 2));
        long chunk = limits.logitsRows(spec, rows);
        long head = Transformer.headBytes(spec)
                + Float.BYTES * chunk * ((long) spec.hiddenSize() + spec.vocabSize() + 4);
        return scratch + Math.max(head, Transformer.blockBytes(spec, DType.F32));
    }

    /** Takes what is found on the way back. Tokens are counted over all sequences. */
    public interface Listener {
        /** The loss of the tokens from {@code firstToken} on, before any factor: losses F64 [1, n]. */
        void loss(long firstToken, Tensor losses);

        /** Where the gradients of the head's parameters are summed; null when they are not wanted. */
        default @Nullable Head headGradients(Head head, TensorArena arena) {
            return null;
        }

        /** Where the gradients of a block's parameters are summed; null when they are not wanted. */
        default @Nullable BlockWeights gradients(BlockWeights block, TensorArena arena) {
            return null;
        }

        /** Hears of the linears of a block for the tokens from {@code firstToken} on. */
        default OutputTap tap(int block, long firstToken) {
            return OutputTap.NONE;
        }

        /** The head's sums have all of a group. */
        default void headDone(Head gradients) {
            // wants none
        }

        /** A block's sums have all of a group. */
        default void blockDone(BlockWeights gradients) {
            // wants none
        }

        /** The gradient for the embeddings of some tokens: ids I32 [1, n], d F32 [n, hidden]. */
        default void embedded(Tensor ids, Tensor d) {
            // wants none
        }
    }

    /** @param factor of every token's loss */
    public void run(float factor, Listener listener) {
        run(SequenceRange.all(text), factor, listener);
    }

    /**
     * The part of it that is about some sequences, so that several devices can share it.
     *
     * @param range whole batches
     */
    public void run(SequenceRange range, float factor, Listener listener) {
        eachGroup(range, 4L * model.spec().blocks() + 1, sequences -> {
            sequences.forward();
            sequences.head(factor, listener, true);
            sequences.backward(listener);
        });
    }

    /** Forward only: the listener hears of the loss, and of nothing else. */
    public void evaluate(Listener listener) {
        eachGroup(SequenceRange.all(text), model.spec().blocks() + 1, sequences -> {
            sequences.forward();
            sequences.head(1, listener, false);
        });
    }

    /** @param workPerToken what is reported for a token in all, in passes through a block */
    private void eachGroup(SequenceRange range, long workPerToken, Consumer<Group> work) {
        text.requireVocabulary(model.spec().vocabSize());
        int batch = batch(text, limits);
        int group = group(model.spec(), text, limits);
        try (TensorArena arena = model.device().arena()) {
            Scratch scratch = new Scratch(arena, batch * text.length(),
                    (long) range.count() * text.length() * workPerToken);
            for (int first = range.from(); first < range.to(); first += group) {
                try (Group sequences = new Group(first, Math.min(group, range.to() - first), scratch)) {
                    work.accept(sequences);
                }
            }
            model.device().synchronize();
            scratch.report("done", 0);
        }
    }

    /** Device memory of a batch. */
    private final class Scratch {
        private final int rows;
        private final Transformer.Workspace forward;
        private final Transformer.BackwardWorkspace backward;
        private final Tensor ids;
        private final Tensor x;
        private final Tensor d;
        private final long work;
        private long done;

        private Scratch(TensorArena arena, int rows, long work) {
            this.rows = rows;
            this.work = work;
            this.backward = model.backwardWorkspace(arena, rows, text.length());
            this.forward = Transformer.forwardPart(backward);
            this.ids = arena.vector(DType.I32, rows);
            this.x = arena.matrix(DType.F32, rows, model.spec().hiddenSize());
            this.d = arena.matrix(DType.F32, rows, model.spec().hiddenSize());
        }

        /** Work in tokens through a block forward; backward, with computing the block again, is three of them. */
        private void report(String what, long tokens) {
            progress.at(purpose + ", " + what, done, work);
            done += tokens;
        }
    }

    /** Runs on a batch: its first row in the group, and how many. */
    private interface Batch {
        void run(long row, long count);
    }

    /** Some sequences, with the input of every block, and behind the last one first its output, then the gradients. */
    private final class Group implements AutoCloseable {
        private final Device device = model.device();
        private final int firstSequence;
        private final long tokens;
        private final Scratch scratch;
        private final List<ActivationStore> inputs = new ArrayList<>();

        private Group(int firstSequence, int count, Scratch scratch) {
            this.firstSequence = firstSequence;
            this.tokens = (long) count * text.length();
            this.scratch = scratch;
            try {
                for (int i = 0; i <= model.spec().blocks(); i++) {
                    inputs.add(new ActivationStore(tokens, model.spec().hiddenSize(),
                            limits.memoryBytes() / (model.spec().blocks() + 1)));
                }
            } catch (RuntimeException e) {
                close();
                throw e;
            }
        }

        private void forward() {
            eachBatch((row, count) -> {
                Tensor x = scratch.x.rows(0, count);
                model.embed(ids(row, count), x);
                inputs.getFirst().write(device, row, x);
            });
            int depth = model.spec().blocks();
            for (int index = 0; index < depth; index++) {
                try (TensorArena arena = device.arena()) {
                    BlockWeights block = blocks().load(index, arena);
                    ActivationStore from = inputs.get(index);
                    ActivationStore to = inputs.get(index + 1);
                    int level = index;
                    eachBatch((row, count) -> {
                        scratch.report("forward, block " + (level + 1) + "/" + depth, count);
                        Tensor x = scratch.x.rows(0, count);
                        from.read(device, row, x);
                        model.forward(block, x, scratch.forward, InputTap.NONE);
                        to.write(device, row, x);
                    });
                    device.synchronize();
                }
            }
        }

        /** The output of the last block becomes the gradient for it, where that is wanted. */
        private void head(float factor, Listener listener, boolean differentiate) {
            ActivationStore stream = inputs.getLast();
            try (TensorArena arena = device.arena()) {
                Head head = model.loadHead(arena);
                Head gradients = differentiate ? listener.headGradients(head, arena) : null;
                HeadBatch work = new HeadBatch(head, gradients, arena, scratch.rows);
                eachBatch((row, count) -> {
                    scratch.report("head", count);
                    Tensor x = scratch.x.rows(0, count);
                    stream.read(device, row, x);
                    Tensor d = scratch.d.rows(0, count);
                    work.run(firstToken() + row, x, differentiate ? d : null, factor, listener);
                    if (differentiate) {
                        stream.write(device, row, d);
                    }
                });
                if (gradients != null) {
                    listener.headDone(gradients);
                }
                device.synchronize();
            }
        }

        private void backward(Listener listener) {
            ActivationStore stream = inputs.getLast();
            int depth = model.spec().blocks();
            for (int index = depth - 1; index >= 0; index--) {
                try (TensorArena arena = device.arena()) {
                    BlockWeights block = blocks().load(index, arena);
                    BlockWeights gradients = listener.gradients(block, arena);
                    ActivationStore from = inputs.get(index);
                    int level = index;
                    eachBatch((row, count) -> {
                        scratch.report("backward, block " + (level + 1) + "/" + depth, 3 * count);
                        Tensor x = scratch.x.rows(0, count);
                        Tensor d = scratch.d.rows(0, count);
                        from.read(device, row, x);
                        stream.read(device, row, d);
                        model.backward(block, x, d, scratch.backward, listener.tap(level, firstToken() + row),
                                gradients);
                        stream.write(device, row, d);
                    });
                    if (gradients != null) {
                        listener.blockDone(gradients);
                    }
                    device.synchronize();
                }
            }
            eachBatch((row, count) -> {
                Tensor d = scratch.d.rows(0, count);
                stream.read(device, row, d);
                listener.embedded(ids(row, count), d);
            });
        }

        private Tensor ids(long row, long count) {
            Tensor ids = scratch.ids.columns(0, count);
            text.upload(device, firstSequence + (int) (row / text.length()), ids);
            return ids;
        }

        private long firstToken() {
            return (long) firstSequence * text.length();
        }

        private void eachBatch(Batch batch) {
            for (long row = 0; row < tokens; row += scratch.rows) {
                batch.run(row, Math.min(scratch.rows, tokens - row));
            }
        }

        @Override
        public void close() {
            inputs.forEach(ActivationStore::close);
        }
    }

    /** The head's part of a batch, logits in chunks. */
    private final class HeadBatch {
        private final Head head;
        private final @Nullable Head gradients;
        private final Tensor normed;
        private final Tensor logits;
        private final Tensor losses;
        private final Objective.Head objective;

        private HeadBatch(Head head, @Nullable Head gradients, TensorArena arena, int rows) {
            this.head = head;
            this.gradients = gradients;
            int vocabulary = model.spec().vocabSize();
            long chunk = limits.logitsRows(model.spec(), rows);
            this.normed = arena.matrix(DType.F32, chunk, model.spec().hiddenSize());
            this.logits = arena.matrix(DType.F32, chunk, vocabulary);
            this.losses = arena.vector(DType.F64, chunk);
            this.objective = objective().open(model, text, head, arena, chunk);
        }

        /** @param d the gradient for x, written; null where it is not wanted */
        private void run(long firstToken, Tensor x, @Nullable Tensor d, float factor, Listener listener) {
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
                    objective.differentiate(chunk, weights(scratch, firstToken + row, n, factor));
                    model.headBackward(head, x.rows(row, n), normed.rows(0, n), chunk, d.rows(row, n), gradients);
                    device.synchronize();
                }
            }
        }

        /** The factor, and 0 for the last token of a sequence, which predicts nothing. */
        private Tensor weights(TensorArena arena, long firstToken, long n, float factor) {
            Tensor weights = arena.vector(DType.F32, n);
            try (Arena host = Arena.ofShared()) {
                MemorySegment values = host.allocate(ValueLayout.JAVA_FLOAT, n);
                for (long i = 0; i < n; i++) {
                    boolean last = (firstToken + i + 1) % text.length() == 0;
                    values.setAtIndex(ValueLayout.JAVA_FLOAT, i, last ? 0 : factor);
                }
                model.device().upload(values, weights);
                model.device().synchronize();
            }
            return weights;
        }
    }
}
