package dev.optgptq.gptq.convert;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.tune.WeightStudent;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A model with rotary positions in, one with ALiBi out. */
class AlibiRunTest {

    private static final int LENGTH = 16;
    private static final int HEADS = 4;
    private static final ConvertSettings.Heal HEAL = new ConvertSettings.Heal(4, null, WeightStudent.Scope.ALL, 1e-4, 0,
            2, LENGTH, 5);

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;
    @SuppressWarnings("NullAway.Init") // before each test
    private Path model;
    private final List<String> log = new ArrayList<>();

    @BeforeEach
    void write() {
        model = new TinyModel(TinyModel.Family.LLAMA, DType.F32, HEADS, false, false, Long.MAX_VALUE).narrow()
                .write(folder.resolve("model"));
    }

    @Test
    void the_result_states_its_slopes_and_brings_the_code_that_runs_it_and_resumes_with_the_same_weights()
            throws IOException {
        ConvertReport report = convert("whole", HEAL, false, Progress.SILENT);
        assertThrows(CancellationException.class, () -> convert("out", HEAL, false, (phase, done, total) -> {
            if (phase.startsWith("block 2/2: values")) {
                throw new CancellationException();
            }
        }));
        convert("out", HEAL, false, Progress.SILENT);

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
    void without_healing_it_is_refused_with_what_it_costs_unless_forced() throws IOException {
        assertUserError(Code.BAD_SETTING, () -> convert("out", null, false, Progress.SILENT), "0.9 nats", "--heal",
                "--force");
    }

    @Test
    void without_healing_both_starts_are_tried_and_the_choice_is_kept_when_it_is_interrupted() throws IOException {
        ConvertReport report = convert("whole", null, true, Progress.SILENT);

        assertNotNull(report.positions());
        assertEquals(0, report.positions().steps());
        assertNotNull(report.positions().plain());
        assertNotNull(report.positions().fitted());
        assertEquals(report.positions().fitted() < report.positions().plain() ? "fitted" : "plain",
                report.positions().start());
        assertEquals(TinyModel.BLOCKS, report.positions().layers().size());

        assertThrows(CancellationException.class, () -> convert("out", null, true, (phase, done, total) -> {
            if (phase.startsWith("block 2/2: values")) {
                throw new CancellationException();
            }
        }));
        List<String> places = new ArrayList<>();
        convert("out", null, true, (phase, done, total) -> places.add(phase));

        assertTrue(places.stream().noneMatch(place -> place.startsWith("positions of block")), places.toString());
        assertArrayEquals(Files.readAllBytes(folder.resolve("whole/model.safetensors")),
                Files.readAllBytes(folder.resolve("out/model.safetensors")));
    }

    private ConvertReport convert(String output, ConvertSettings.@Nullable Heal heal, boolean force,
            Progress progress) throws IOException {
        Path text = folder.resolve("text.txt");
        Files.writeString(text, "many words of a text, and others of it again. ".repeat(20));
        ConvertSettings settings = new ConvertSettings(model, folder.resolve(output), new Heads.Ratio(2),
                Grouping.CONTIGUOUS,
                Positions.ALIBI, ConvertSettings.Form.AUTO,
                new ConvertSettings.Calibration(Corpus.calibration(text), Sampling.SEQUENTIAL, 8, LENGTH, 0), heal,
                null,
                false, false, 1, force);
        try (Device device = Devices.open("cpu", 1)) {
            return ConvertRun.run(settings, device, "test 1", progress, log::add);
        }
    }
}
