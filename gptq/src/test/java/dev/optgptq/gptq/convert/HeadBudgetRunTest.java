package dev.optgptq.gptq.convert;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.testing.SharedFixtures;
import dev.optgptq.gptq.testing.TinyModel;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Each layer gets the number of key-value heads that cost least under a total. */
class HeadBudgetRunTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void layers_get_their_own_number_of_heads_and_the_model_says_so() {
        Path model = TinyModel.MPT.narrow().write(folder.resolve("model"));

        // Of 8 heads in two layers 5 leave room for 4 and 1 alone, or for less.
        ConvertReport report = convert(model, new Heads.Share(0.63));

        ConvertReport.Budget budget = Objects.requireNonNull(report.budget());
        assertEquals(5, budget.heads());
        assertEquals("63%", report.command().get("--kv-bytes"));
        List<Integer> chosen = budget.layers().stream().map(ConvertReport.LayerCost::kvHeads).toList();
        assertEquals(5, chosen.stream().mapToInt(Integer::intValue).sum(), chosen.toString());
        budget.layers().forEach(layer -> {
            assertEquals(List.of(4, 2, 1), List.copyOf(layer.divergences().keySet()));
            assertEquals(0, layer.divergences().get(4));
            assertTrue(Objects.requireNonNull(layer.divergences().get(1)) > 0, layer.toString());
        });
        assertEquals(chosen, report.layers().stream().map(ConvertReport.Layer::kvHeads).toList());
        assertEquals(8 * report.cache().bytesPerTokenAfter(), 5 * report.cache().bytesPerTokenBefore());
        try (ModelDirectory written = ModelDirectory.open(folder.resolve("out"))) {
            ModelSpec spec = ModelSpec.resolve(written);
            assertEquals("opt_gqa", spec.family());
            assertEquals(chosen, spec.blockSpecs().stream()
                    .map(block -> ((Mixer.Attention) block.mixer()).kvHeads()).toList());
            assertTrue(spec.remarks().isEmpty(), spec.remarks().toString());
        }
    }

    @Test
    void rotary_positions_stay_in_a_model_with_heads_by_layer() {
        Path model = TinyConversion.llama(DType.F32).write(folder.resolve("model"));

        ConvertReport report = convert(model, new Heads.Share(0.63));

        try (ModelDirectory written = ModelDirectory.open(folder.resolve("out"))) {
            ModelSpec spec = ModelSpec.resolve(written);
            assertEquals("opt_gqa", spec.family());
            assertTrue(spec.remarks().isEmpty(), spec.remarks().toString());
            assertEquals(report.layers().stream().map(ConvertReport.Layer::kvHeads).toList(),
                    spec.blockSpecs().stream().map(block -> ((Mixer.Attention) block.mixer()).kvHeads()).toList());
            assertTrue(spec.blockSpecs().stream()
                    .allMatch(block -> ((Mixer.Attention) block.mixer()).position() instanceof Position.Rotary));
        }
    }

    @Test
    void positions_that_no_layout_holds_with_that_are_refused_by_name() {
        try (ModelDirectory source = SharedFixtures.open("smollm3")) {
            ModelSpec spec = ModelSpec.resolve(source);
            HeadPlan plan = HeadPlan.of(spec, new Heads.Share(0.6));
            TinyConversion conversion = new TinyConversion(source.path(), folder);
            conversion.heads = new Heads.Share(0.6);
            assertUserError(Code.UNSUPPORTED_MODEL, () -> TargetForm
                    .of(source, spec, plan, conversion.settings("out", null), false, 16).close(), "opt_gqa",
                    "positions of several forms");
        }
    }

    @Test
    void a_total_that_is_too_small_or_no_less_is_refused_with_its_limits() {
        Path model = TinyModel.MPT.narrow().write(folder.resolve("model"));
        for (Heads heads : List.of(new Heads.Share(0.2), new Heads.Bytes(1), new Heads.Bytes(1 << 20))) {
            assertUserError(Code.BAD_SETTING, () -> convert(model, heads), "--kv-bytes",
                    "one key-value head in each of 2");
        }
    }

    private ConvertReport convert(Path model, Heads heads) {
        TinyConversion conversion = new TinyConversion(model, folder);
        conversion.heads = heads;
        return conversion.run();
    }
}
