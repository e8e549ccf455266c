package dev.optgptq.gptq.convert;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Each layer gets the number of key-value heads that cost least under a total. */
class HeadBudgetTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;
    private final List<String> log = new ArrayList<>();

    @Test
    void no_other_choice_under_the_total_costs_less() {
        for (long seed = 0; seed < 50; seed++) {
            SplittableRandom random = new SplittableRandom(seed);
            List<SequencedMap<Integer, Double>> costs = new ArrayList<>();
            for (int layer = 0; layer < 4; layer++) {
                SequencedMap<Integer, Double> each = new LinkedHashMap<>();
                each.put(6, 0.0);
                List.of(3, 2, 1).forEach(heads -> each.put(heads, random.nextDouble() / heads));
                costs.add(each);
            }
            int total = 4 + random.nextInt(20);

            List<Integer> chosen = HeadBudget.choose(costs, total);

            String where = "seed " + seed + ", " + total + " heads: " + chosen;
            assertTrue(chosen.stream().mapToInt(Integer::intValue).sum() <= total, where);
            assertEquals(least(costs, 0, total), cost(costs, chosen), 1e-12, where);
        }
    }

    private static double cost(List<SequencedMap<Integer, Double>> costs, List<Integer> chosen) {
        double sum = 0;
        for (int layer = 0; layer < chosen.size(); layer++) {
            sum += Objects.requireNonNull(costs.get(layer).get(chosen.get(layer)));
        }
        return sum;
    }

    private static double least(List<SequencedMap<Integer, Double>> costs, int layer, int left) {
        return layer == costs.size()
                ? 0
                : costs.get(layer).entrySet().stream().filter(each -> each.getKey() <= left)
                        .mapToDouble(each -> each.getValue() + least(costs, layer + 1, left - each.getKey())).min()
                        .orElse(Double.POSITIVE_INFINITY);
    }

    @Test
    void layers_get_their_own_number_of_heads_and_the_model_says_so() throws IOException {
        Path model = TinyModel.MPT.narrow().write(folder.resolve("model"));

        // Of 8 heads in two layers 5 leave room for 4 and 1 alone, or for less.
        ConvertReport report = convert(model, new Heads.Share(0.63));

        ConvertReport.Budget budget = Objects.requireNonNull(report.budget());
        assertEquals(5, budget.heads());
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
    void positions_that_no_layout_holds_with_that_are_refused_with_what_helps() {
        Path model = TinyModel.LLAMA.narrow().write(folder.resolve("model"));
        assertUserError(Code.UNSUPPORTED_MODEL, () -> convert(model, new Heads.Share(0.5)), "--kv-bytes", "llama",
                "--ratio", "--positions alibi");
    }

    @Test
    void a_total_that_is_too_small_or_no_less_is_refused_with_its_limits() {
        Path model = TinyModel.MPT.narrow().write(folder.resolve("model"));
        for (Heads heads : List.of(new Heads.Share(0.2), new Heads.Bytes(1), new Heads.Bytes(1 << 20))) {
            assertUserError(Code.BAD_SETTING, () -> convert(model, heads), "--kv-bytes",
                    "one key-value head in each of 2");
        }
    }

    private ConvertReport convert(Path model, Heads heads) throws IOException {
        Path text = folder.resolve("text.txt");
        Files.writeString(text, "many words of a text, and others of it again. ".repeat(20));
        ConvertSettings settings = new ConvertSettings(model, folder.resolve("out"), heads, Grouping.CONTIGUOUS,
                Positions.KEEP,
                ConvertSettings.Form.AUTO,
                new ConvertSettings.Calibration(Corpus.calibration(text), Sampling.SEQUENTIAL, 8, 16, 0), null,
                null, false, false, 1,
                false);
        try (Device device = Devices.open("cpu", 1)) {
            return ConvertRun.run(settings, device, "test 1", Progress.SILENT, log::add);
        }
    }
}
