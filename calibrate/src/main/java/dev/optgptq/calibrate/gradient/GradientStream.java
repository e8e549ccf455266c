package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.SequenceRange;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.OutputTap;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.calibrate.weights.Prefetch;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Runs sequences forward and backward through the whole model. If the limits allow it, the model stays on the device,
 * and batch after batch runs forward through it, keeping traces, and backward. Otherwise groups of sequences run
 * through it one after the other: for a group, the input of every block is kept, and one block of the model at a time,
 * which is recomputed in the backward pass. Both give the same bits. The loss is the sum, over all tokens but the last
 * of each sequence, of the objective, times a factor.
 *
 * @param blocks source of the weights: model::loadBlock, or others of the same shapes
 * @param purpose its purpose, in reported phases: "gradients"
 */
public record GradientStream(Transformer model, Blocks blocks, TokenSequences text, Objective objective, String purpose,
        Progress progress, Limits limits) {

    /** Provides the weights. */
    @FunctionalInterface
    public interface Blocks {
        /** Those of a block, which the arena owns. */
        BlockWeights load(int block, TensorArena arena);

        /** The model's own head; the arena owns it, unless it is kept elsewhere. */
        default Head ownHead(Transformer model, TensorArena arena) {
            return model.loadHead(arena);
        }

        /**
         * The head, the model's own or another.
         *
         * @param own the model's own, which the objective always uses: it may be the teacher's
         * @param arena owns what is not the model's
         */
        default Head head(Head own, TensorArena arena) {
            return own;
        }

        /** Embeds with the model's own table, or another. */
        default void withEmbedding(Transformer model, int sequenceLength, Consumer<Transformer.Embedding> use) {
            model.withEmbedding(sequenceLength, use);
        }

        /** Announces that one block is loaded now and the other next, if it exists. */
        default void wants(int block, int next) {
            // no hint needed
        }

        /**
         * The model's own, prefetched.
         *
         * @param resident whether all of a block is loaded; else its experts are streamed
         */
        static Blocks of(Transformer model, Prefetch prefetch, boolean resident) {
            return new Blocks() {
                @Override
                public BlockWeights load(int block, TensorArena arena) {
                    return resident ? model.loadBlock(block, arena) : model.streamBlock(block, arena);
                }

                @Override
                public void wants(int block, int next) {
                    prefetch.wants(block, next);
                }
            };
        }
    }

    /**
     * Batch limits.
     *
     * @param batchTokens tokens per batch, where sequences allow
     * @param groupBytes size of the block inputs of a group
     * @param logitsBytes logits that exist at one time
     * @param memoryBytes above which the inputs of a block go to a temporary file
     * @param residentBytes device memory for the model and the traces of a batch; if they need more, blocks are
     *     reloaded and recomputed
     */
    public record Limits(int batchTokens, long groupBytes, long logitsBytes, long memoryBytes, long residentBytes) {
        /** Blocks are recomputed. */
        public static final Limits DEFAULT = new Limits(2048, 256L << 20, 64L << 20, Long.MAX_VALUE, 0);

        public Limits withMemory(long bytes) {
            return new Limits(batchTokens, groupBytes, logitsBytes, bytes, residentBytes);
        }

        public Limits withResident(long bytes) {
            return new Limits(batchTokens, groupBytes, logitsBytes, memoryBytes, bytes);
        }

        long logitsRows(ModelSpec spec, int rows) {
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

    /** Sequences of a group: whole batches, so that batches do not depend on the group size. */
    private static int group(ModelSpec spec, TokenSequences text, Limits limits) {
        int batch = batch(text, limits);
        int fitting = Math.clamp(limits.groupBytes() / inputBytes(spec, text.length()), batch, text.count());
        return fitting / batch * batch;
    }

    /** The block inputs of some tokens. */
    private static long inputBytes(ModelSpec spec, long tokens) {
        return (spec.blocks() + 1L) * tokens * spec.hiddenSize() * Float.BYTES;
    }

    /** The block inputs of a group, on the host or in a temporary file; 0 if the model stays on the device. */
    public static long inputBytes(ModelSpec spec, TokenSequences text, Limits limits) {
        return isResident(spec, text, limits)
                ? 0
                : inputBytes(spec, (long) group(spec, text, limits) * text.length());
    }

    /** Peak device memory of a run, without gradients of parameters. */
    public static long deviceBytes(ModelSpec spec, TokenSequences text, Limits limits) {
        return deviceBytes(spec, text, limits, ModelMemory.blockBytes(spec, DType.F32));
    }

    /** The same with the model's own blocks, whose experts are streamed. */
    static long ownDeviceBytes(ModelSpec spec, TokenSequences text, Limits limits) {
        return deviceBytes(spec, text, limits, ModelMemory.streamedBytes(spec, DType.F32));
    }

    private static long deviceBytes(ModelSpec spec, TokenSequences text, Limits limits, long block) {
        return isResident(spec, text, limits)
                ? residentBytes(spec, DType.F32, text, limits)
                : scratchBytes(spec, DType.F32, text, limits) + Math.max(headBytes(spec, text, limits), block);
    }

    /** Whether the limits allow the model to stay on the device, with products in float32. */
    public static boolean isResident(ModelSpec spec, TokenSequences text, Limits limits) {
        return isResident(spec, DType.F32, text, limits);
    }

    private static boolean isResident(ModelSpec spec, DType products, TokenSequences text, Limits limits) {
        return limits.residentBytes() > 0 && residentBytes(spec, products, text, limits) <= limits.residentBytes();
    }

    /** Prefetch of its blocks: also to the device, if it has room beside the run. */
    static Prefetch prefetch(Transformer model, TokenSequences text, Limits limits) {
        return model.prefetch(model.roomBeside(deviceBytes(model.spec(), text, limits)));
    }

    private static long residentBytes(ModelSpec spec, DType products, TokenSequences text, Limits limits) {
        return scratchBytes(spec, products, text, limits) + headBytes(spec, text, limits)
                + ResidentPass.bytes(spec, products, batch(text, limits) * text.length(), text.length());
    }

    private static long scratchBytes(ModelSpec spec, DType products, TokenSequences text, Limits limits) {
        return BatchScratch.bytes(spec, products, batch(text, limits) * text.length(), text.length());
    }

    private static long headBytes(ModelSpec spec, TokenSequences text, Limits limits) {
        return HeadPass.bytes(spec, limits.logitsRows(spec, batch(text, limits) * text.length()));
    }

    /**
     * Receives the results of the backward pass. Tokens are counted over all sequences. Sums are complete group by
     * group if blocks are recomputed, else once at the very end.
     */
    public interface Listener {
        /** The loss of the tokens from {@code firstToken} on, before any factor: losses F64 [1, n]. */
        void loss(long firstToken, Tensor losses);

        /** Tensors that sum the gradients of the head's parameters; null if they are not wanted. */
        default @Nullable Head headGradients(Head head, TensorArena arena) {
            return null;
        }

        /** Tensors that sum the gradients of a block's parameters; null if they are not wanted. */
        default @Nullable BlockWeights gradients(BlockWeights block, TensorArena arena) {
            return null;
        }

        /** The tap for the linears of a block, for the tokens from {@code firstToken} on. */
        default OutputTap tap(int block, long firstToken) {
            return OutputTap.NONE;
        }

        /** The head's sums of a group are complete. */
        default void headDone(Head gradients) {
            // wants none
        }

        /** A block's sums of a group are complete. */
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
     * The part for some sequences, so that several devices can share it.
     *
     * @param range whole batches
     */
    public void run(SequenceRange range, float factor, Listener listener) {
        if (isResident(model.spec(), model.products(), text, limits)) {
            inScratch(range, 3L * model.spec().blocks() + 1,
                    scratch -> new ResidentPass(this, scratch).run(range, factor, listener));
            return;
        }
        eachGroup(range, 4L * model.spec().blocks() + 1, group -> {
            group.forward();
            group.head(factor, listener, true);
            group.backward(listener);
        });
    }

    /** Forward only: the listener receives only the loss. */
    public void evaluate(Listener listener) {
        eachGroup(SequenceRange.all(text), model.spec().blocks() + 1, group -> {
            group.forward();
            group.head(1, listener, false);
        });
    }

    private void eachGroup(SequenceRange range, long workPerToken, Consumer<StreamedGroup> work) {
        int size = group(model.spec(), text, limits);
        inScratch(range, workPerToken, scratch -> {
            for (int first = range.from(); first < range.to(); first += size) {
                SequenceRange sequences = new SequenceRange(first, Math.min(first + size, range.to()));
                try (StreamedGroup group = new StreamedGroup(this, sequences, scratch)) {
                    work.accept(group);
                }
            }
        });
    }

    /** @param workPerToken the work to report per token, in passes through a block */
    private void inScratch(SequenceRange range, long workPerToken, Consumer<BatchScratch> work) {
        text.requireVocabulary(model.spec().vocabSize());
        try (TensorArena arena = model.device().arena()) {
            BatchScratch scratch = new BatchScratch(this, arena,
                    (long) range.count() * text.length() * workPerToken);
            work.accept(scratch);
            model.device().synchronize();
            scratch.report("done", 0);
        }
    }
}
