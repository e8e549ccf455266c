package dev.optgptq.gptq.convert;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.tune.WeightStudent;
import java.io.IOException;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A model with rotary positions in, one with ALiBi out. */
class AlibiRunTest {

    private static final ConvertSettings.Heal HEAL = new ConvertSettings.Heal(4, null, WeightStudent.Scope.ALL, 1e-4, 0,
            2, TinyConversion.LENGTH, 5, Precision.AUTO);

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;
    @SuppressWarnings("NullAway.Init") // before each test
    private TinyConversion conversion;

    @BeforeEach
    void write() {
        conversion = new TinyConversion(TinyConversion.llama(DType.F32).write(folder.resolve("model")), folder);
        conversion.positions = Positions.ALIBI;
    }

    @Test
    void the_result_states_its_slopes_and_brings_the_code_that_runs_it_and_resumes_with_the_same_weights()
            throws IOException {
        conversion.heal = HEAL;
        ConvertReport report = conversion.run("whole");
        conversion.runUntil("out", "block 2/2: values");
        conversion.run("out");

        try (ModelDirectory written = ModelDirectory.open(folder.resolve("whole"))) {
            ModelSpec spec = ModelSpec.resolve(written);
            Mixer.Attention form = HeadPlan.attention(spec);
            assertEquals("opt_gqa", spec.family());
            assertEquals(2, form.kvHeads());
            assertEquals(List.of(0.25, 0.0625, 0.015625, 0.00390625), ((Position.Alibi) form.position()).stated());
            assertTrue(spec.remarks().isEmpty(), spec.remarks().toString());
        }
        for (String name : List.of("configuration_opt_gqa.py", "modeling_opt_gqa.py", "tokenizer.json")) {
            assertTrue(Files.exists(folder.resolve("whole").resolve(name)), name);
        }
        ConvertReport.Positions positions = report.positions();
        assertNotNull(positions);
        assertEquals("rotary", positions.from());
        assertEquals("plain", positions.start());
        assertNull(positions.plain());
        assertArrayEquals(Files.readAllBytes(folder.resolve("whole/model.safetensors")),
                Files.readAllBytes(folder.resolve("out/model.safetensors")));
    }

    @Test
    void without_healing_it_is_refused_with_what_it_costs_unless_forced() {
        assertUserError(Code.BAD_SETTING, conversion::run, "0.9 nats", "--heal", "--force");
    }

    @Test
    void without_healing_both_starts_are_tried_and_the_choice_is_kept_when_it_is_interrupted() throws IOException {
        conversion.force = true;
        ConvertReport report = conversion.run("whole");

        assertNotNull(report.positions());
        assertEquals(0, report.positions().steps());
        assertNotNull(report.positions().plain());
        assertNotNull(report.positions().fitted());
        assertEquals(report.positions().fitted() < report.positions().plain() ? "fitted" : "plain",
                report.positions().start());
        assertEquals(TinyModel.BLOCKS, report.positions().layers().size());

        conversion.runUntil("out", "block 2/2: values");
        List<String> places = new ArrayList<>();
        conversion.run("out", (phase, done, total) -> places.add(phase));

        assertTrue(places.stream().noneMatch(place -> place.startsWith("positions of block")), places.toString());
        assertArrayEquals(Files.readAllBytes(folder.resolve("whole/model.safetensors")),
                Files.readAllBytes(folder.resolve("out/model.safetensors")));
    }
}
