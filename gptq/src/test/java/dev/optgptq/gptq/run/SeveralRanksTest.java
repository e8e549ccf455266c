package dev.optgptq.gptq.run;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.testing.TinyMixture;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.testing.ThreadRanks;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SortedMap;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What several ranks, each with devices of its own, make of one job. */
class SeveralRanksTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    /** 3 ranks with 2 devices each are more than the calibration has parts. GPTQ has own grids, RTN is evaluated. */
    @ParameterizedTest
    @CsvSource({"GPTQ, 3, 2", "GRADIENT, 2, 1", "GRADIENT, 1, 3", "RTN, 2, 1"})
    void any_number_of_ranks_and_devices_writes_the_files_of_one_process(CalibratorKind calibrator, int ranks,
            int devices) {
        Path model = TinyModel.LLAMA.narrow().write(folder.resolve("model"));
        RunReport one = run(model, "one", calibrator).run();
        Map<String, Double> work = new HashMap<>();
        one.phases().forEach(phase -> work.put(phase.name(), phase.flops()));

        RunReport report = runOver(run(model, "several", calibrator), ranks, devices);

        assertEquals(Checksums.of(folder.resolve("one")), Checksums.of(folder.resolve("several")));
        assertEquals(calibrator == CalibratorKind.RTN, one.quality() != null);
        assertEquals(one.quality(), report.quality());
        report.phases().forEach(phase -> assertEquals(work.getOrDefault(phase.name(), 0.0), phase.flops(),
                1e-9 * phase.flops(), "what is counted for " + phase.name()));
    }

    @Test
    void two_ranks_write_a_mixture_as_one_process_does() {
        Path model = new TinyMixture(4).write(folder.resolve("model"));
        TinyRun one = run(model, "one", CalibratorKind.GPTQ);
        TinyRun two = run(model, "two", CalibratorKind.GPTQ);
        one.samples = 2;
        two.samples = 2;

        one.run();
        runOver(two, 2, 1);

        assertEquals(Checksums.of(folder.resolve("one")), Checksums.of(folder.resolve("two")));
    }

    /** A cluster gives what it has free: the next job may get more nodes or fewer. */
    @Test
    void two_ranks_go_on_with_what_one_process_has_begun() {
        Path model = TinyModel.LLAMA.narrow().write(folder.resolve("model"));
        TinyRun run = run(model, "run", CalibratorKind.GPTQ);
        run.trueSequential = true;
        run.progress = (phase, done, total) -> {
            if (phase.startsWith("block 2/2: solve")) {
                throw new CancellationException(phase);
            }
        };
        assertThrows(CancellationException.class, run::run);
        run.progress = Progress.SILENT;
        assertEquals(1, runOver(run, 2, 1).resumed().blocks());
        SortedMap<String, Long> resumed = Checksums.of(run.output);

        run.overwrite = true;
        run.run();
        assertEquals(Checksums.of(run.output), resumed);
    }

    @Test
    void a_rank_with_another_setting_is_named_before_anything_is_computed() {
        Path model = TinyModel.LLAMA.narrow().write(folder.resolve("model"));
        TinyRun first = run(model, "out", CalibratorKind.GPTQ);
        TinyRun second = run(model, "out", CalibratorKind.GPTQ);
        second.bits = 3;

        assertUserError(UserError.Code.DEVICE, () -> ThreadRanks.run(2, rank -> {
            try (DeviceGroup group = new DeviceGroup(cpus(1)).among(rank)) {
                if (rank.isFirst()) {
                    first.run(group);
                } else {
                    second.follow(group);
                }
            }
        }), "rank 1", "--bits was 4 and is 3");
        assertFalse(Files.exists(folder.resolve(".out.partial")));
    }

    @Test
    void learned_rounding_over_ranks_is_refused() {
        TinyRun run = run(TinyModel.LLAMA.narrow().write(folder.resolve("model")), "out", CalibratorKind.GRADIENT);
        run.refinement = new Refinement(true, new NextToken(), true, 2, 0);

        assertUserError(UserError.Code.BAD_SETTING, () -> runOver(run, 2, 1), "--tune 2", "learned rounding");
    }

    private static RunReport runOver(TinyRun run, int ranks, int devices) {
        AtomicReference<@Nullable RunReport> report = new AtomicReference<>();
        ThreadRanks.run(ranks, rank -> {
            try (DeviceGroup group = new DeviceGroup(cpus(devices)).among(rank)) {
                if (rank.isFirst()) {
                    report.set(run.run(group));
                } else {
                    run.follow(group);
                }
            }
        });
        return Objects.requireNonNull(report.get());
    }

    private static List<Device> cpus(int count) {
        List<Device> opened = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            opened.add(Devices.open("cpu", 1));
        }
        return opened;
    }

    private TinyRun run(Path model, String output, CalibratorKind calibrator) {
        TinyRun run = new TinyRun(model, folder);
        run.output = folder.resolve(output);
        run.calibrator = calibrator;
        run.samples = 9;
        run.sequenceLength = 16;
        run.evaluate = calibrator == CalibratorKind.RTN;
        if (calibrator == CalibratorKind.GPTQ) {
            run.modules = TinyRun.rules(List.of(".*0.self_attn.q_proj=bits:3"), List.of(".*1.self_attn.o_proj"));
        }
        return run;
    }
}
