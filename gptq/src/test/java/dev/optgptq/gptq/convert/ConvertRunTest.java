package dev.optgptq.gptq.convert;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.testing.TinyModel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A model directory in, a model directory with fewer key-value heads out. */
class ConvertRunTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    /** Models of four heads of their own. */
    enum Source {
        LLAMA, MPT, MPT_WITH_BIASES;

        private TinyModel model() {
            return switch (this) {
                case LLAMA -> TinyConversion.llama(DType.BF16);
                case MPT -> TinyModel.MPT.narrow();
                case MPT_WITH_BIASES -> TinyModel.MPT_WITH_BIASES.narrow();
            };
        }
    }

    @ParameterizedTest
    @EnumSource(Source.class)
    void the_result_opens_as_a_model_of_the_same_family_with_fewer_key_value_heads(Source source) {
        Path model = source.model().write(folder.resolve("model"));

        TinyConversion conversion = new TinyConversion(model, folder);
        conversion.evaluate = true;
        ConvertReport report = conversion.run();

        try (ModelDirectory before = ModelDirectory.open(model);
                ModelDirectory after = ModelDirectory.open(folder.resolve("out"))) {
            ModelSpec spec = ModelSpec.resolve(after);
            assertEquals(2, HeadPlan.attention(spec).kvHeads());
            assertEquals(4, HeadPlan.attention(spec).heads());
            assertEquals(ModelSpec.resolve(before).family(), spec.family());
            assertEquals(before.tensors().sequencedKeySet(), after.tensors().sequencedKeySet());
            for (TensorView view : before.tensors().values()) {
                boolean mayChange = view.name().matches(".*(attn|down_proj).*");
                assertEquals(view.dtype(), after.tensor(view.name()).dtype(), view.name());
                assertTrue(mayChange || view.data().mismatch(after.tensor(view.name()).data()) < 0, view.name());
            }
        }
        assertTrue(Files.exists(folder.resolve("out/tokenizer.json")), "the tokenizer goes along");
        assertEquals(TinyModel.BLOCKS, report.layers().size());
        assertEquals(2 * report.cache().bytesPerTokenAfter(), report.cache().bytesPerTokenBefore());
        ConvertReport.Quality quality = report.quality();
        assertNotNull(quality);
        assertTrue(quality.divergence().kl() > 0 && Double.isFinite(quality.after()), quality.toString());
    }

    @ParameterizedTest
    @EnumSource(Source.class)
    void every_number_of_threads_gives_the_same_files(Source source) {
        TinyConversion conversion = of(source);
        conversion.heads = new Heads.Count(1);
        conversion.run("one");

        conversion.threads = 3;
        conversion.run("three");

        assertEquals(conversion.checksums("one"), conversion.checksums("three"));
    }

    @ParameterizedTest
    @EnumSource(Source.class)
    void an_interrupted_run_resumes_after_the_last_layer_with_the_same_files(Source source) {
        TinyConversion conversion = of(source);
        conversion.run("whole");

        conversion.runUntil("out", "block 2/2: values");
        assertFalse(Files.exists(folder.resolve("out")), "an output that is not complete");
        List<String> places = new ArrayList<>();
        conversion.run("out", (phase, done, total) -> places.add(phase));

        assertTrue(places.contains("block 1/2: replayed"), places.toString());
        assertTrue(conversion.log.stream().anyMatch(line -> line.startsWith("resuming after block 1 of 2")),
                conversion.log.toString());
        assertEquals(conversion.checksums("whole"), conversion.checksums("out"));
    }

    @Test
    void heads_that_the_ratio_does_not_divide_are_refused_with_those_that_would_do() {
        TinyConversion conversion = of(Source.MPT);

        conversion.heads = new Heads.Ratio(3);
        assertUserError(Code.BAD_SETTING, conversion::run, "--ratio 3", "4 key-value heads", "1, 2, 4");
        conversion.heads = new Heads.Count(8);
        assertUserError(Code.BAD_SETTING, conversion::run, "--kv-heads 8");
    }

    @Test
    void a_model_with_grouped_heads_is_merged_further_and_told_so() {
        TinyConversion conversion = new TinyConversion(TinyModel.LLAMA.narrow().write(folder.resolve("model")), folder);

        conversion.run();

        assertTrue(conversion.log.stream().anyMatch(line -> line.contains("already has grouped heads")),
                conversion.log.toString());
        try (ModelDirectory after = ModelDirectory.open(folder.resolve("out"))) {
            assertEquals(1, HeadPlan.attention(ModelSpec.resolve(after)).kvHeads());
        }
    }

    @Test
    void too_few_sequences_to_hold_any_out_are_refused() {
        TinyConversion conversion = of(Source.MPT);
        conversion.samples = 3;
        assertUserError(Code.BAD_SETTING, conversion::run, "--samples 3", "at least 4");
    }

    private TinyConversion of(Source source) {
        return new TinyConversion(source.model().write(folder.resolve("model")), folder);
    }
}
