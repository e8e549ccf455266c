package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.tune.Distillation;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.OptionalLong;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** A text, and what the original model makes of it, which is computed when it is first needed. */
final class TeacherText implements AutoCloseable {

    private static final int BATCH_TOKENS = 2048;
    /** Outputs stay on the device if they take no more than one of so many parts of what is free. */
    private static final int DEVICE_SHARE = 4;
    /** Memory for the model and the traces of a batch on a device that does not say how much is free. */
    private static final long HOST_RESIDENT = 1L << 30;

    private final Transformer original;
    private final HealTokens tokens;
    private final boolean sameHead;
    private final DType products;
    private final Progress progress;
    private @Nullable ActivationStore heldOut;
    private @Nullable TokenDraws draws;

    /**
     * @param sameHead whether learners begin with the original's head under its name, so that it need not be loaded twice
     * @param products matmul dtype of the linears of learners, F32 or BF16
     */
    TeacherText(Transformer original, HealTokens tokens, boolean sameHead, DType products, Progress progress) {
        this.original = original;
        this.tokens = tokens;
        this.sameHead = sameHead;
        this.products = products;
        this.progress = progress;
    }

    Transformer original() {
        return original;
    }

    DType products() {
        return products;
    }

    HealTokens tokens() {
        return tokens;
    }

    /** All held-out sequences of its distillations. */
    int[] heldOut() {
        return IntStream.range(0, tokens.heldOut().count()).toArray();
    }

    /**
     * Learning from it, where lessons are given; its own sequences are the held-out ones.
     *
     * @param sums bytes of the gradients of what is learned, which is on the device already
     */
    Distillation distillation(Transformer student, long sums) {
        TokenSequences text = tokens.heldOut();
        if (heldOut == null) {
            heldOut = outputs(text);
        }
        OptionalLong free = student.device().freeMemory();
        // Outputs for lessons are made later, and may take their share.
        long room = free.isPresent() ? student.roomBeside(sums + free.getAsLong() / DEVICE_SHARE) : HOST_RESIDENT;
        return new Distillation(student, sameHead ? null : original, text, heldOut,
                GradientStream.Limits.DEFAULT.withResident(Math.max(0, room)));
    }

    /** What each step learns. */
    HealLessons lessons(HealLessons.Extent extent, long seed) {
        TokenSequences training = tokens.training();
        if (draws == null) {
            draws = draws(training, seed);
        }
        return new HealLessons(sameHead ? null : original.withProducts(products), training, draws, this::outputs,
                extent, seed);
    }

    private TokenDraws draws(TokenSequences training, long seed) {
        TokenDraws found = TokenDraws.of(training);
        int together = Math.max(1, HealLessons.ROUND_TOKENS / training.length());
        for (int first = 0; first < training.count(); first += together) {
            int[] some = IntStream.range(first, Math.min(first + together, training.count())).toArray();
            try (ActivationStore known = outputs(training.select(some))) {
                found.draw(original, (long) first * training.length(), known, training.length(), seed + first);
            }
        }
        return found;
    }

    /** What the original's last block puts out for all sequences. */
    private ActivationStore outputs(TokenSequences text) {
        long bytes = text.tokens() * original.spec().hiddenSize() * Float.BYTES;
        boolean onDevice = bytes <= original.device().freeMemory().orElse(0) / DEVICE_SHARE;
        ActivationStore store = Streams.embedded(original, text, BATCH_TOKENS, onDevice);
        Transformer fast = original.withStoredWeights();
        try (TensorArena arena = original.device().arena()) {
            int together = Math.clamp(BATCH_TOKENS / text.length(), 1, text.count());
            Tensor buffer = arena.matrix(DType.F32, (long) together * text.length(), original.spec().hiddenSize());
            Transformer.Workspace workspace = fast.workspace(arena, together * text.length(), text.length());
            for (int index = 0; index < original.spec().blocks(); index++) {
                progress.at("original model, block " + (index + 1) + "/" + original.spec().blocks(), index,
                        original.spec().blocks());
                try (TensorArena weights = original.device().arena()) {
                    BlockWeights block = fast.loadBlock(index, weights);
                    for (int first = 0; first < text.count(); first += together) {
                        long n = (long) Math.min(together, text.count() - first) * text.length();
                        store.update(original.device(), (long) first * text.length(), buffer.rows(0, n),
                                x -> fast.forward(block, x, workspace, InputTap.NONE));
                    }
                    original.device().synchronize();
                }
            }
            return store;
        } catch (RuntimeException e) {
            store.close();
            throw e;
        }
    }

    @Override
    public void close() {
        if (heldOut != null) {
            heldOut.close();
        }
    }
}
