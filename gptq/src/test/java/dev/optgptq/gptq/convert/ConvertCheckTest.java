package dev.optgptq.gptq.convert;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import dev.optgptq.gptq.testing.SharedFixtures;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a conversion says before anything is computed. */
class ConvertCheckTest {

    private static final int LENGTH = 8;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"deepseek-v2-lite, latent attention (MLA)", "qwen3-next, a gated deltanet", "gpt-oss, attention sinks",
            "olmoe, clipped queries"})
    void what_cannot_be_merged_is_refused_by_name(String name, String what) {
        try (ModelDirectory source = SharedFixtures.open(name)) {
            ModelSpec spec = ModelSpec.resolve(source);
            assertUserError(Code.UNSUPPORTED_MODEL,
                    () -> ConvertCheck.check(settings(source, Positions.KEEP, false, 16), source, spec), what);
        }
    }

    @Test
    void alibi_without_healing_asks_for_force_and_says_what_it_costs() {
        try (ModelDirectory rotary = SharedFixtures.open("llama-mha");
                ModelDirectory learned = SharedFixtures.open("opt")) {
            assertUserError(Code.BAD_SETTING,
                    () -> ConvertCheck.check(settings(rotary, Positions.ALIBI, false, 16), rotary,
                            ModelSpec.resolve(rotary)),
                    "--heal", "0.9 nats", "--force");
            assertUserError(Code.BAD_SETTING, () -> ConvertCheck.check(settings(learned, Positions.ALIBI, false, 16),
                    learned, ModelSpec.resolve(learned)), "0.02 to 0.12 nats");
            ConvertCheck.check(settings(rotary, Positions.ALIBI, true, 16), rotary, ModelSpec.resolve(rotary));
        }
    }

    @Test
    void too_little_text_is_told_how_many_tokens_more_it_takes() {
        try (ModelDirectory source = SharedFixtures.open("llama-mha")) {
            ModelSpec spec = ModelSpec.resolve(source);
            HeadPlan plan = HeadPlan.of(spec, new Heads.Ratio(2));
            List<String> few = ConvertCheck.warnings(settings(source, Positions.KEEP, false, 4), spec, plan,
                    text(4));
            assertEquals(1, few.size(), few.toString());
            assertTrue(few.getFirst().matches(".*need at least as many tokens, found 24; give \\d+ more.*"),
                    few.toString());
            assertTrue(ConvertCheck.warnings(settings(source, Positions.KEEP, false, 400), spec, plan, text(400))
                    .isEmpty());
        }
    }

    @Test
    void a_model_that_has_alibi_keeps_it_and_is_told_so() {
        try (ModelDirectory source = SharedFixtures.open("mpt")) {
            ModelSpec spec = ModelSpec.resolve(source);
            ConvertSettings settings = settings(source, Positions.ALIBI, false, 400);
            ConvertCheck.check(settings, source, spec);
            assertTrue(
                    ConvertCheck.warnings(settings, spec, HeadPlan.of(spec, new Heads.Ratio(2)), text(400)).toString()
                            .contains("has ALiBi already"));
        }
    }

    @Test
    void a_short_text_is_not_more_by_being_drawn_often() {
        try (ModelDirectory source = SharedFixtures.open("llama-mha")) {
            ModelSpec spec = ModelSpec.resolve(source);
            int[] same = new int[400 * LENGTH];
            Arrays.setAll(same, i -> i % LENGTH);
            List<String> few = ConvertCheck.warnings(settings(source, Positions.KEEP, false, 400), spec,
                    HeadPlan.of(spec, new Heads.Ratio(2)), new TokenSequences(same, 400, LENGTH));
            assertTrue(
                    few.getFirst().matches(
                            ".*found 6, as sequences of a short text overlap; give \\d+ more in --calibration"),
                    few.toString());
        }
    }

    private static TokenSequences text(int samples) {
        return new TokenSequences(new SplittableRandom(1).ints((long) samples * LENGTH, 0, 256).toArray(), samples,
                LENGTH);
    }

    private ConvertSettings settings(ModelDirectory source, Positions positions, boolean force, int samples) {
        TinyConversion conversion = new TinyConversion(source.path(), folder);
        conversion.positions = positions;
        conversion.force = force;
        conversion.samples = samples;
        conversion.sequenceLength = LENGTH;
        return conversion.settings("out", null);
    }
}
