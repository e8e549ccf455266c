package dev.optgptq.gptq.convert;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.tune.WeightStudent;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A converted model is trained to predict what the original does. */
class HealingRunTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void healing_brings_the_predictions_closer_and_keeps_what_is_best(boolean tied) {
        TinyModel form = TinyConversion.llama(DType.F32);
        TinyConversion conversion = conversion(tied ? form.withTiedHead() : form);

        ConvertReport.Healed healed = healed(conversion.run());

        assertTrue(healed.after() < healed.before(), healed.toString());
        assertEquals(healed.after(), healed.curve().stream().mapToDouble(ConvertReport.Look::divergence).min()
                .orElseThrow());
    }

    @ParameterizedTest
    @EnumSource(WeightStudent.Scope.class)
    void healing_gives_the_same_files_for_every_number_of_threads_and_after_an_interruption(WeightStudent.Scope scope) {
        TinyConversion conversion = conversion();
        conversion.heal = heal(scope, 1e-4, 0.01);
        conversion.run("one");

        conversion.runUntil("out", "healing, step 5/");
        conversion.run("out");
        conversion.threads = 3;
        conversion.run("three");

        assertTrue(conversion.log.stream().anyMatch(line -> line.startsWith("healing resumes after step 4 of 10")),
                conversion.log.toString());
        assertEquals(conversion.checksums("one"), conversion.checksums("three"));
        assertEquals(conversion.checksums("one"), conversion.checksums("out"));
    }

    @Test
    void without_a_rate_the_one_that_heals_most_in_a_short_trial_is_taken_and_an_interrupted_run_keeps_it() {
        TinyConversion conversion = conversion();
        conversion.heal = heal(WeightStudent.Scope.ALL, null, 0);
        ConvertReport.Healed healed = healed(conversion.run("one"));
        conversion.runUntil("out", "healing, step 1/");
        List<String> first = List.copyOf(conversion.log);
        conversion.log.clear();
        conversion.run("out");

        ConvertReport.Trial best = healed.trials().stream()
                .min(Comparator.comparingDouble(trial -> Objects.requireNonNull(trial.divergence()))).orElseThrow();
        // Healing halves it where it leads astray, so it is the log that says what was taken.
        assertTrue(first.contains(String.format(Locale.ROOT, "healing with rate %.0e", best.rate())), first.toString());
        assertTrue(healed.rate() <= best.rate(), healed.toString());
        assertTrue(healed.trials().size() > 1, healed.toString());
        assertTrue(conversion.log.stream().noneMatch(line -> line.startsWith("healing, rate")),
                "tried again: " + conversion.log);
        assertEquals(conversion.checksums("one"), conversion.checksums("out"));
    }

    @Test
    void a_rate_that_makes_it_worse_leads_back_to_the_best_weights_with_half_of_it() {
        TinyConversion conversion = conversion();
        conversion.heal = heal(WeightStudent.Scope.ALL, 0.5, 0);

        ConvertReport.Healed healed = healed(conversion.run());

        assertTrue(conversion.log.stream()
                .anyMatch(line -> line.contains("worse than at first; resuming from the best weights")),
                conversion.log.toString());
        assertTrue(healed.rate() < 0.5, healed.toString());
        assertTrue(healed.after() <= healed.before(), healed.toString());
    }

    @Test
    void where_only_attention_is_healed_all_else_is_the_converted_models() {
        TinyConversion conversion = conversion();
        conversion.heal = null;
        conversion.run("unhealed");

        conversion.heal = heal(WeightStudent.Scope.ATTENTION, 1e-4, 0.01);
        conversion.run();

        try (ModelDirectory before = ModelDirectory.open(folder.resolve("unhealed"));
                ModelDirectory after = ModelDirectory.open(folder.resolve("out"))) {
            for (TensorView view : before.tensors().values()) {
                boolean same = view.data().mismatch(after.tensor(view.name()).data()) < 0;
                assertEquals(!view.name().contains("self_attn"), same, view.name());
            }
        }
    }

    private TinyConversion conversion() {
        return conversion(TinyConversion.llama(DType.BF16));
    }

    /** To one key-value head, and healed. */
    private TinyConversion conversion(TinyModel model) {
        TinyConversion conversion = new TinyConversion(model.write(folder.resolve("model")), folder);
        conversion.heads = new Heads.Count(1);
        conversion.heal = heal(WeightStudent.Scope.ALL, 3e-5, 0.01);
        return conversion;
    }

    private static ConvertSettings.Heal heal(WeightStudent.Scope scope, @Nullable Double rate, double decay) {
        return new ConvertSettings.Heal(10, null, scope, rate, decay, 4, TinyConversion.LENGTH, 5, Precision.AUTO);
    }

    private static ConvertReport.Healed healed(ConvertReport report) {
        return Objects.requireNonNull(report.healed());
    }
}
