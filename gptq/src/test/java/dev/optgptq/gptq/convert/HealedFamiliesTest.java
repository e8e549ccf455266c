package dev.optgptq.gptq.convert;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.gptq.testing.SharedFixtures;
import dev.optgptq.gptq.tune.WeightStudent.Scope;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import java.util.Objects;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Healing of models that are stored otherwise than a llama: experts in one tensor, fused rows, norms of heads each in its own. */
class HealedFamiliesTest {

    private static final int SEQUENCES = 24;
    private static final int LENGTH = 16;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"granite-moe, ATTENTION", "qwen2-moe, ALL", "bloom, ALL", "stablelm-parallel-qk-layernorm, ALL",
            "falcon-new-decoder, ATTENTION"})
    void a_converted_model_is_healed_and_written(String name, Scope scope) {
        try (ModelDirectory source = SharedFixtures.open(name); Device device = Devices.open("cpu", 1)) {
            ModelSpec spec = ModelSpec.resolve(source);

            ConvertReport report = convert(source, spec, scope, device);

            ConvertReport.Healed healed = Objects.requireNonNull(report.healed());
            assertTrue(healed.after() < healed.before(), healed.toString());
            try (ModelDirectory written = ModelDirectory.open(folder.resolve("out"))) {
                assertEquals(HeadPlan.attention(spec).kvHeads() / 2,
                        HeadPlan.attention(ModelSpec.resolve(written)).kvHeads());
            }
        }
    }

    @Test
    void experts_in_one_tensor_are_not_learned_and_what_can_be_is_said_beforehand() {
        try (ModelDirectory source = SharedFixtures.open("granite-moe"); Device device = Devices.open("cpu", 1)) {
            assertUserError(Code.BAD_SETTING, () -> convert(source, ModelSpec.resolve(source), Scope.ALL, device),
                    "holds several matrices", "--heal-scope attention");
        }
    }

    private ConvertReport convert(ModelDirectory source, ModelSpec spec, Scope scope, Device device) {
        ConvertSettings settings = new ConvertSettings(source.path(), folder.resolve("out"), new Heads.Ratio(2),
                Grouping.CONTIGUOUS, Positions.KEEP, ConvertSettings.Form.AUTO,
                new ConvertSettings.Calibration(Corpus.calibration(null), Sampling.SEQUENTIAL, SEQUENCES, LENGTH, 0),
                new ConvertSettings.Heal(4, null, scope, 1e-3, 0, 4, LENGTH, 1, Precision.AUTO), null, false, false, 1,
                false);
        TokenSequences text = new TokenSequences(
                new SplittableRandom(3).ints((long) SEQUENCES * LENGTH, 0, spec.vocabSize()).toArray(), SEQUENCES,
                LENGTH);
        return ConvertRun.measure(settings, source, text, text, device, "test 1", Progress.SILENT, line -> {});
    }
}
