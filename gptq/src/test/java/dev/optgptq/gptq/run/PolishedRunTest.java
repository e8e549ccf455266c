package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.Ablation;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.memory.MemoryJob;
import dev.optgptq.gptq.run.memory.MemoryNeed;
import dev.optgptq.gptq.run.memory.MemoryPlan;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.RunTexts;
import dev.optgptq.gptq.settings.SettingsTable;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.solve.Polish;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import dev.optgptq.kernels.ranks.Crew;
import java.util.OptionalLong;
import java.util.SortedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Runs whose solutions are polished: scales refitted, codes moved by coordinate descent. */
class PolishedRunTest {

    private static final Polish BOTH = new Polish(true, 2);

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"GPTQ, NONE, true", "GPTQ, GROUP, false", "GRADIENT, NONE, true", "GRADIENT, STATIC, false"})
    void polishing_changes_the_files_and_gives_the_same_ones_for_every_number_of_threads(CalibratorKind calibrator,
            ActOrder actOrder, boolean symmetric) {
        TinyRun run = run(calibrator, BOTH);
        run.actOrder = actOrder;
        run.symmetric = symmetric;
        run.format = symmetric ? CheckpointFormat.GPTQ : CheckpointFormat.GPTQ_V2;

        SortedMap<String, Long> one = run.filesForAnyThreads();

        run.refinement = polishedBy(Polish.NONE);
        assertNotEquals(one, run.files(), "not polished");
    }

    /** The error of a layer is without the damping that the solve has. */
    @ParameterizedTest
    @CsvSource({"true, 0", "false, 1", "true, 2"})
    void gptq_polishes_every_linear_so_that_layers_of_the_first_block_lose_less(boolean refitScales, int sweeps) {
        TinyRun run = run(CalibratorKind.GPTQ, Polish.NONE);
        List<RunReport.Layer> before = firstBlock(run.run());
        run.refinement = polishedBy(new Polish(refitScales, sweeps));
        run.overwrite = true;

        List<RunReport.Layer> after = firstBlock(run.run());

        for (int i = 0; i < before.size(); i++) {
            double ratio = Objects.requireNonNull(after.get(i).relativeError())
                    / Objects.requireNonNull(before.get(i).relativeError());
            assertTrue(ratio < 1, before.get(i).module() + ": " + ratio);
        }
    }

    @Test
    void gradient_calibration_tries_each_way_last_and_keeps_it_only_where_the_block_comes_closer() {
        Ablation ablation = Objects.requireNonNull(run(CalibratorKind.GRADIENT, BOTH).run().ablation());

        assertEquals(
                List.of("scale search", "token weights", "error propagation in attention", "error propagation",
                        "scale refit", "coordinate descent"),
                ablation.totals().stream().map(Ablation.Total::name).toList());
        for (Ablation.Step step : ablation.steps()) {
            assertTrue(!step.kept() || step.lossAfter() < step.lossBefore(), step::toString);
        }
        assertTrue(ablation.steps().stream().anyMatch(
                step -> step.name().equals("coordinate descent")
                        && "sweeps: 2, from refitted scales".equals(step.note())),
                ablation.steps()::toString);
    }

    @Test
    void one_way_alone_is_one_step() {
        Ablation ablation = Objects
                .requireNonNull(run(CalibratorKind.GRADIENT, new Polish(false, 1)).run().ablation());

        List<String> names = ablation.totals().stream().map(Ablation.Total::name).toList();

        assertTrue(names.contains("coordinate descent") && !names.contains("scale refit"), names::toString);
    }

    @ParameterizedTest
    @EnumSource(value = CalibratorKind.class, names = {"GPTQ", "GRADIENT"})
    void progress_ends_where_it_was_said_to(CalibratorKind calibrator) {
        TinyRun run = run(calibrator, BOTH);
        run.refinement = new Refinement(true, new NextToken(), true, BOTH, 0, false, 0);

        run.runWithRisingProgress();
    }

    @ParameterizedTest
    @CsvSource({"GPTQ, GROUP, 32", "GPTQ, NONE, -1", "GPTQ, GROUP, -1", "GRADIENT, NONE, 32", "GRADIENT, GROUP, -1"})
    void the_plan_covers_what_a_polished_run_allocates(CalibratorKind calibrator, ActOrder actOrder, int groupSize) {
        TinyRun run = run(calibrator, BOTH);
        run.actOrder = actOrder;
        run.groupSize = groupSize;
        run.samples = 2;
        run.sequenceLength = 32;

        try (Device device = Devices.open("cpu", 2)) {
            run.run(device);

            long planned = plan(run).device();
            assertTrue(device.peakMemory() <= planned,
                    device.peakMemory() + " bytes on the device, planned " + planned);
        }
    }

    @ParameterizedTest
    @CsvSource({"GPTQ, true, 0", "GPTQ, false, 1", "GRADIENT, true, 0", "GRADIENT, false, 1"})
    void no_run_goes_on_from_blocks_that_were_polished_otherwise(CalibratorKind calibrator, boolean refitScales,
            int sweeps) {
        TinyRun run = run(calibrator, Polish.NONE);
        var without = SettingsTable.deciding(run.settings());
        run.refinement = polishedBy(new Polish(refitScales, sweeps));

        assertNotEquals(without, SettingsTable.deciding(run.settings()));
    }

    private static List<RunReport.Layer> firstBlock(RunReport report) {
        List<RunReport.Layer> layers = report.layers().stream().filter(layer -> layer.block() == 0).toList();
        assertTrue(!layers.isEmpty(), "the first block has layers");
        return layers;
    }

    private TinyRun run(CalibratorKind calibrator, Polish polish) {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.calibrator = calibrator;
        run.bits = 3;
        run.refinement = polishedBy(polish);
        return run;
    }

    private static Refinement polishedBy(Polish polish) {
        return new Refinement(true, new NextToken(), true, polish, 0, false, 0);
    }

    private static MemoryPlan plan(TinyRun run) {
        QuantizeSettings settings = run.settings();
        try (ModelDirectory directory = ModelDirectory.open(settings.model())) {
            ModelSpec spec = ModelSpec.resolve(directory.config());
            MemoryJob job = new MemoryJob(spec, DType.F32, settings.grids(spec).grids(), null, false,
                    settings.isGradient() ? settings.refinement() : null, Crew.alone(1));
            return MemoryPlan.of(job, RunTexts.read(settings, spec),
                    new MemoryNeed.Free(1L << 40, OptionalLong.empty()));
        }
    }
}
