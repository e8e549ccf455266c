package dev.optgptq.gptq.tune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.refine.Streams;
import dev.optgptq.gptq.refine.TinyBlock;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** 9 sequences of 16 tokens, the last one held out; what the last block puts out is made up. */
class HeldOutLossesTest {

    private static final int ROWS = TinyBlock.SEQUENCES * TinyBlock.LENGTH;
    private static final int TRAINED = ROWS - TinyBlock.LENGTH;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @SuppressWarnings("NullAway.Init") // set before each test
    private TinyBlock tiny;

    @BeforeEach
    void aModel() {
        tiny = new TinyBlock(TinyModel.LLAMA, folder.resolve("model"));
    }

    @AfterEach
    void close() {
        tiny.close();
    }

    @Test
    void a_model_that_puts_out_what_the_original_does_does_not_diverge_from_it() {
        HeldOutLosses found = losses(0, ROWS, null);

        assertEquals(0, found.divergence(), 1e-12);
        assertEquals(found.originalCrossEntropy(), found.crossEntropy());
    }

    @Test
    void losses_are_means_over_all_tokens_but_the_last_of_each_held_out_sequence() {
        HeldOutLosses found = losses(0.3f, ROWS, null);

        float[][] original = logProbabilities(0);
        float[][] quantized = logProbabilities(0.3f);
        int[] ids = tiny.text.ids();
        double originalLoss = 0;
        double loss = 0;
        double divergence = 0;
        for (int token = 0; token < TinyBlock.LENGTH - 1; token++) {
            int next = ids[TRAINED + token + 1];
            originalLoss -= original[token][next];
            loss -= quantized[token][next];
            for (int id = 0; id < TinyModel.VOCABULARY; id++) {
                divergence += Math.exp(original[token][id]) * (original[token][id] - quantized[token][id]);
            }
        }
        assertEquals(originalLoss / (TinyBlock.LENGTH - 1), found.originalCrossEntropy(), 1e-5);
        assertEquals(loss / (TinyBlock.LENGTH - 1), found.crossEntropy(), 1e-5);
        assertEquals(divergence / (TinyBlock.LENGTH - 1), found.divergence(), 1e-5);
        assertTrue(found.divergence() > 1e-3, "there is something to measure");
    }

    @Test
    void an_original_stream_of_the_held_out_sequences_alone_says_the_same() {
        assertEquals(losses(0.3f, ROWS, null), losses(0.3f, TinyBlock.LENGTH, null));
    }

    @Test
    void plain_gptq_is_measured_where_it_was_followed_and_beaten_by_less_divergence() {
        HeldOutLosses better = losses(0.3f, ROWS, 0.5f);
        HeldOutLosses worse = losses(0.3f, ROWS, 0.1f);

        assertEquals(losses(0.5f, ROWS, null).divergence(), better.plainDivergence());
        assertEquals(true, better.beatsPlain());
        assertEquals(false, worse.beatsPlain());
        assertNull(losses(0.3f, ROWS, null).beatsPlain(), "it was not followed");
    }

    /**
     * @param noise of what the quantized blocks put out
     * @param originalRows how many of the last rows the original stream has
     * @param plain noise of what plain GPTQ's do; null where it was not followed
     */
    private HeldOutLosses losses(float noise, int originalRows, @Nullable Float plain) {
        try (ActivationStore quantized = stream(noise, 0);
                ActivationStore original = stream(0, ROWS - originalRows);
                ActivationStore alone = plain == null ? null : stream(plain, TRAINED)) {
            return HeldOutLosses.of(tiny.model,
                    new Streams(quantized, original, alone, TinyBlock.LENGTH, tiny.streams.partition()), tiny.text);
        }
    }

    private ActivationStore stream(float noise, int from) {
        ActivationStore store = new ActivationStore(ROWS - from, TinyModel.HIDDEN, Long.MAX_VALUE);
        try (TensorArena arena = tiny.device.arena()) {
            Tensor x = arena.matrix(DType.F32, ROWS - from, TinyModel.HIDDEN);
            tiny.upload(output(noise, from), x);
            store.write(tiny.device, 0, x);
        }
        return store;
    }

    private static float[] output(float noise, int from) {
        float[] values = new float[(ROWS - from) * TinyModel.HIDDEN];
        for (int i = 0; i < values.length; i++) {
            int at = from * TinyModel.HIDDEN + i;
            values[i] = (float) (Math.sin(at) + noise * Math.cos(3.7 * at));
        }
        return values;
    }

    /** Of the held-out tokens, [token][id]. */
    private float[][] logProbabilities(float noise) {
        try (TensorArena arena = tiny.device.arena()) {
            Head head = tiny.model.loadHead(arena);
            Tensor x = arena.matrix(DType.F32, TinyBlock.LENGTH, TinyModel.HIDDEN);
            Tensor normed = arena.matrix(DType.F32, TinyBlock.LENGTH, TinyModel.HIDDEN);
            Tensor logits = arena.matrix(DType.F32, TinyBlock.LENGTH, TinyModel.VOCABULARY);
            tiny.upload(output(noise, TRAINED), x);
            tiny.model.logits(head, x, normed, logits);
            float[] all = tiny.floats(logits);
            float[][] result = new float[TinyBlock.LENGTH][TinyModel.VOCABULARY];
            for (int token = 0; token < TinyBlock.LENGTH; token++) {
                double sum = 0;
                for (int id = 0; id < TinyModel.VOCABULARY; id++) {
                    sum += Math.exp(all[token * TinyModel.VOCABULARY + id]);
                }
                for (int id = 0; id < TinyModel.VOCABULARY; id++) {
                    result[token][id] = (float) (all[token * TinyModel.VOCABULARY + id] - Math.log(sum));
                }
            }
            return result;
        }
    }
}
