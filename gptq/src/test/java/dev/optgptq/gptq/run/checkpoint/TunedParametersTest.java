package dev.optgptq.gptq.run.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.family.RowOrder;
import dev.optgptq.calibrate.family.WeightView;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.files.OutputDirectory;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.gptq.journal.Identity;
import dev.optgptq.gptq.journal.Journal;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.run.progress.PhaseClock;
import dev.optgptq.gptq.testing.PackedLinears;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** One linear of 64 inputs and 32 outputs in two groups, and one norm of 32 channels, in a journal of its own. */
class TunedParametersTest {

    private static final LinearSpec LINEAR = new LinearSpec("model.layers.0.mlp.down_proj", "mlp.down_proj",
            Projection.DOWN, LinearSpec.NO_EXPERT, 64, 32, false,
            new WeightView("model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.down_proj.bias",
                    RowOrder.single(32), WeightView.Stored.OUT_IN, 0, 1));
    private static final TensorSpec SPEC = new TensorSpec(LINEAR.module() + ".scales", DType.F16, Shape.of(2, 32));
    private static final TensorSpec NORM = new TensorSpec("model.norm.weight", DType.BF16, Shape.of(32));
    private static final StepOutcome OUTCOME = new StepOutcome("tuned scales and norms", -1, 0.1 / 3, 0.01, true, 12.5,
            "7 of 16 steps");

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    private final Arena host = Arena.ofShared();
    private final Device device = Devices.open("cpu", 1);
    private final PackedLinear linear = PackedLinears.random(host, 1, 4, LINEAR.inputs(), LINEAR.outputs(), 2);
    private final MemorySegment norm = host.allocate(NORM.bytes()).fill((byte) 0x3f);
    private final float[] learned = halved(PackedLinears.scales(linear));
    @SuppressWarnings("NullAway.Init") // set before each test
    private OutputDirectory directory;

    @BeforeEach
    void aJournal() {
        directory = new OutputDirectory(folder.resolve("out"), false);
        Journal journal = journal();
        journal.startOver(new Identity(new LinkedHashMap<>(Map.of("--bits", "4"))));
        journal.begin("2026-01-01T00:00:00Z");
    }

    @AfterEach
    void close() {
        directory.close();
        device.close();
        host.close();
    }

    @Test
    void what_was_learned_is_found_by_a_later_run_with_what_it_bought() {
        record();

        TunedParameters found = TunedParameters.find(journal()).orElseThrow();

        assertEquals(OUTCOME, found.outcome());
        try (SafetensorsFile file = found.open()) {
            assertEquals(Set.of(SPEC.name(), NORM.name()), file.tensors().keySet());
            assertArrayEquals(learned, PackedLinears.floats(data(file, SPEC)));
            assertEquals(-1, norm.mismatch(data(file, NORM)));
        }
    }

    @Test
    void fingerprints_are_those_of_the_same_codes_with_the_learned_scales_and_of_the_norms() {
        record();

        Map<String, Long> found = TunedParameters.find(journal()).orElseThrow().fingerprints();

        assertEquals(Map.of(LINEAR.module(), Fingerprint.of(PackedLinears.withScales(host, linear, learned)),
                NORM.name(), Fingerprint.of(norm)), found);
        assertNotEquals(Fingerprint.of(linear), found.get(LINEAR.module()));
    }

    @Test
    void nothing_is_found_before_they_are_recorded() {
        assertEquals(Optional.empty(), TunedParameters.find(journal()));
    }

    @Test
    void learning_that_fails_leaves_nothing_behind() {
        assertThrows(IllegalStateException.class,
                () -> TunedParameters.record(journal(), List.of(SPEC, NORM), module -> linear, sink -> {
                    sink.scales(LINEAR, PackedLinears.halves(host, learned));
                    throw new IllegalStateException("lost the device");
                }, new PhaseClock(device, "tune scales")));

        assertEquals(Optional.empty(), TunedParameters.find(journal()));
    }

    private static MemorySegment data(SafetensorsFile file, TensorSpec spec) {
        return Objects.requireNonNull(file.tensors().get(spec.name())).data();
    }

    private void record() {
        TunedParameters.record(journal(), List.of(SPEC, NORM), module -> linear, sink -> {
            sink.scales(LINEAR, PackedLinears.halves(host, learned));
            sink.norm(NORM.name(), norm);
            return OUTCOME;
        }, new PhaseClock(device, "tune scales"));
    }

    private Journal journal() {
        return new Journal(directory, line -> {});
    }

    private static float[] halved(float[] values) {
        float[] result = new float[values.length];
        for (int i = 0; i < values.length; i++) {
            result[i] = values[i] / 2;
        }
        return result;
    }
}
