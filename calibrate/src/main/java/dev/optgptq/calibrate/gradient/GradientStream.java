package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.SequenceRange;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.OutputTap;
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
 * Runs sequences forward and backward through the whole model. Where the limits allow it, the model lies on the device,
 * and batch after batch goes forward through it, leaving its traces, and back. Otherwise groups of sequences go through
 * it one after the other: of a group, the input of every block is kept; of the model, one block at a time, which is
 * computed again on the way back. Both give the same bits. The loss is the sum, over all tokens but the last of each
 * sequence, of the objective, times a factor.
 *
 * @param blocks where the weights come from: model::loadBlock, or others of the same shapes
 * @param purpose what it is for, in the phases that are reported: "gradients"
 */
public record GradientStream(Transformer model, Blocks blocks, TokenSequences text, Objective objective, String purpose,
        Progress progress, Limits limits) {

    /** Gives the weights that are computed with. */
    @FunctionalInterface
    public interface Blocks {
        /** Those of a block, which the arena owns. */
        BlockWeights load(int block, TensorArena arena);

        /**
         * The head, the model's own or another.
         *
         * @param own as the model has it, which the objective computes with in any case: it may be the teacher's
         * @param arena owns what is not the model's
         */
        default Head head(Head own, TensorArena arena) {
            return own;
        }

        /** Embeds with the model's own table, or another. */
        default void withEmbedding(Transformer model, int sequenceLength, Consumer<Transformer.Embedding> use) {
            model.withEmbedding(sequenceLength, use);
        }

        /** This block is loaded now and that one next, if there is one of that number. */
        default void wants(int block, int next) {
            // what is loaded fast need not know
        }

        /** The model's own, brought near before they are loaded. */
        static Blocks of(Transformer model, Prefetch prefetch) {
            return new Blocks() {
                @Override
                public BlockWeights load(int block, TensorArena arena) {
                    return model.loadBlock(block, arena);
                }

                @Override
                public void wants(int block, int next) {
                    prefetch.wants(block, next);
                }
            };
        }
    }

    /**
     * How much is done at once.
     *
     * @param batchTokens tokens per batch, where sequences allow
     * @param groupBytes size of the block inputs of a group
     * @param logitsBytes logits that exist at one time
     * @param memoryBytes above which the inputs of a block go to a temporary file
     * @param residentBytes that the model and the traces of a batch may take on the device; where they need more,
     *     blocks are loaded and computed again
     */
    public record Limits(int batchTokens, long groupBytes, long logitsBytes, long memoryBytes, long residentBytes) {
        /** Blocks computed again. */
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

    /** The block inputs of a group, on the host or in a temporary file; 0 where the model lies on the device. */
    public static long inputBytes(ModelSpec spec, TokenSequences text, Limits limits) {
        return isResident(spec, text, limits)
                ? 0
                : inputBytes(spec, (long) group(spec, text, limits) * text.length());
    }

    /** The most that a run allocates on the device at one time, without gradients of parameters. */
    public static long deviceBytes(ModelSpec spec, TokenSequences text, Limits limits) {
        if (isResident(spec, text, limits)) {
            return residentBytes(spec, text, limits);
        }
        return scratchBytes(spec, text, limits)
                + Math.max(headBytes(spec, text, limits), Transformer.blockBytes(spec, DType.F32));
    }

    /** Whether the limits let the model lie on the device. */
    public static boolean isResident(ModelSpec spec, TokenSequences text, Limits limits) {
        return limits.residentBytes() > 0 && residentBytes(spec, text, limits) <= limits.residentBytes();
    }

    /** For its blocks: on the device, too, where it has room beside the run. */
    static Prefetch prefetch(Transformer model, TokenSequences text, Limits limits) {
        return model.prefetch(model.roomBeside(deviceBytes(model.spec(), text, limits)));
    }

    private static long residentBytes(ModelSpec spec, TokenSequences text, Limits limits) {
        return scratchBytes(spec, text, limits) + headBytes(spec, text, limits)
                + ResidentPass.bytes(spec, batch(text, limits) * text.length(), text.length());
    }

    private static long scratchBytes(ModelSpec spec, TokenSequences text, Limits limits) {
        return BatchScratch.bytes(spec, batch(text, limits) * text.length(), text.length());
    }

    private static long headBytes(ModelSpec spec, TokenSequences text, Limits limits) {
        return HeadPass.bytes(spec, limits.logitsRows(spec, batch(text, limits) * text.length()));
    }

    /**
     * Takes what is found on the way back. Tokens are counted over all sequences. Sums are done group by group where blocks
     * are computed again, else once in the end, behind everything else.
     */
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
        if (isResident(model.spec(), text, limits)) {
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

    /** Forward only: the listener hears of the loss, and of nothing else. */
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

    /** @param workPerToken what is reported for a token in all, in passes through a block */
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
