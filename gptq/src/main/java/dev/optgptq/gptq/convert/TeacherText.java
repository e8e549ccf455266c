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
import org.jspecify.annotations.Nullable;

/** A text, and what the original model makes of it, which is computed when it is first needed. */
final class TeacherText implements AutoCloseable {

    private static final int BATCH_TOKENS = 2048;

    private final Transformer original;
    private final HealTokens tokens;
    private final boolean sameHead;
    private final Progress progress;
    private @Nullable ActivationStore outputs;

    /** @param sameHead whether learners begin with the original's head under its name, so that it need not be loaded twice */
    TeacherText(Transformer original, HealTokens tokens, boolean sameHead, Progress progress) {
        this.original = original;
        this.tokens = tokens;
        this.sameHead = sameHead;
        this.progress = progress;
    }

    Transformer original() {
        return original;
    }

    HealTokens tokens() {
        return tokens;
    }

    /** Learning from it. */
    Distillation distillation(Transformer student) {
        ActivationStore known = outputs;
        if (known == null) {
            known = outputs();
            outputs = known;
        }
        return new Distillation(student, sameHead ? null : original, tokens.text(), known,
                GradientStream.Limits.DEFAULT);
    }

    /** What the original's last block puts out for all sequences. */
    private ActivationStore outputs() {
        TokenSequences text = tokens.text();
        ActivationStore store = Streams.embedded(original, text, BATCH_TOKENS);
        try (TensorArena arena = original.device().arena()) {
            int together = Math.clamp(BATCH_TOKENS / text.length(), 1, text.count());
            Tensor buffer = arena.matrix(DType.F32, (long) together * text.length(), original.spec().hiddenSize());
            Transformer.Workspace workspace = original.workspace(arena, together * text.length(), text.length());
            for (int index = 0; index < original.spec().blocks(); index++) {
                progress.at("original model, block " + (index + 1) + "/" + original.spec().blocks(), index,
                        original.spec().blocks());
                try (TensorArena weights = original.device().arena()) {
                    BlockWeights block = original.loadBlock(index, weights);
                    for (int first = 0; first < text.count(); first += together) {
                        long n = (long) Math.min(together, text.count() - first) * text.length();
                        store.update(original.device(), (long) first * text.length(), buffer.rows(0, n),
                                x -> original.forward(block, x, workspace, InputTap.NONE));
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
        if (outputs != null) {
            outputs.close();
        }
    }
}
