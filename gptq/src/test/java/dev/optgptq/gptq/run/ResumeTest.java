package dev.optgptq.gptq.run;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.kernels.testing.EmulatedGpu;
import dev.optgptq.gptq.testing.TinyModel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.concurrent.CancellationException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The same command run again resumes after the last finished block, and gives the bytes of a run that nothing ended. */
class ResumeTest {

    /** While the first block, the second, and none is unfinished. */
    private static final List<String> STOPS = List.of("block 1/2: solve", "block 2/2: solve", "evaluate");

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"LLAMA, RTN, NONE, true, false, 2, 2", "MPT, RTN, STATIC, false, false, 1, 2",
            "LLAMA, GPTQ, NONE, true, false, 1, 2", "LLAMA, GPTQ, STATIC, true, true, 2, 1",
            "LLAMA, GPTQ, GROUP, false, false, 2, 3", "MPT, GPTQ, NONE, false, true, 2, 2",
            "MPT, GPTQ, STATIC, true, false, 1, 1", "MPT, GPTQ, GROUP, true, true, 3, 2",
            "LLAMA, GRADIENT, STATIC, true, false, 1, 2", "LLAMA, GRADIENT, GROUP, false, true, 2, 1",
            "MPT, GRADIENT, NONE, true, false, 2, 2"})
    void a_run_that_goes_on_behind_any_block_gives_the_files_of_one_that_nothing_ended(TinyModel.Family family,
            CalibratorKind calibrator, ActOrder actOrder, boolean symmetric, boolean trueSequential, int threads,
            int laterThreads) {
        Path model = TinyModel.of(family).write(folder.resolve("model"));
        TinyRun undisturbed = configured(model, calibrator, actOrder, symmetric, trueSequential);
        undisturbed.threads = threads;
        undisturbed.run();
        SortedMap<String, Long> expected = Checksums.of(undisturbed.output);

        for (int finished = 0; finished < STOPS.size(); finished++) {
            TinyRun run = configured(model, calibrator, actOrder, symmetric, trueSequential);
            run.output = folder.resolve("stopped " + finished);
            run.threads = threads;
            stop(run, STOPS.get(finished));
            run.threads = laterThreads;

            RunReport report = run.run();

            assertEquals(expected, Checksums.of(run.output), "stopped in " + STOPS.get(finished) + ", " + run);
            assertEquals(finished, report.resumed().blocks(), run.log.toString());
        }
    }

    static Stream<TinyModel> learning() {
        return Stream.of(TinyModel.LLAMA, TinyModel.MPT_WITH_BIASES.withOwnHead());
    }

    /** Rounding is learned in each block, and scales and norms once all are finished; then it is read back and measured. */
    @ParameterizedTest
    @MethodSource("learning")
    void a_run_that_learns_goes_on_to_the_same_files(TinyModel tiny) {
        Path model = tiny.write(folder.resolve("model"));
        TinyRun undisturbed = learning(model);
        undisturbed.output = folder.resolve("undisturbed");
        undisturbed.run();
        for (String where : List.of("block 1/2: tune", "block 2/2: tune", "whole model: tune scales", "evaluate")) {
            TinyRun run = learning(model);
            run.output = folder.resolve("stopped in " + where.replace('/', ' '));
            stop(run, where);

            run.run();

            assertEquals(Checksums.of(undisturbed.output), Checksums.of(run.output), where);
        }
    }

    private TinyRun learning(Path model) {
        TinyRun run = new TinyRun(model, folder);
        run.calibrator = CalibratorKind.GRADIENT;
        run.refinement = new Refinement(true, new NextToken(), true, 4, 0).tuningNorms(true);
        run.evaluate = true;
        return run;
    }

    @Test
    void a_run_does_not_go_on_from_one_that_treats_norms_otherwise() {
        TinyRun run = learning(TinyModel.LLAMA.write(folder.resolve("model")));
        stop(run, "block 2/2: tune");
        run.refinement = run.refinement.tuningNorms(false);

        assertUserError(Code.OUTPUT, run::run, "1 of 2 blocks", "another result", "--tune-norms was true and is false");
    }

    /** The forward pass rounds weights to fp16/bf16; they are restored before that. In float32 see SeveralDevicesTest. */
    @Test
    void a_gpu_goes_on_to_the_same_files() {
        TinyRun undisturbed = llama();
        undisturbed.precision = Precision.HALF;
        undisturbed.output = folder.resolve("undisturbed");
        TinyRun run = llama();
        run.precision = Precision.HALF;
        try (EmulatedGpu gpu = EmulatedGpu.open()) {
            undisturbed.run(gpu.device());
            run.progress = stopIn("block 2/2: solve");
            assertThrows(CancellationException.class, () -> run.run(gpu.device()));
            run.progress = Progress.SILENT;

            assertEquals(1, run.run(gpu.device()).resumed().blocks());
        }
        assertEquals(Checksums.of(undisturbed.output), Checksums.of(run.output));
    }

    private TinyRun configured(Path model, CalibratorKind calibrator, ActOrder actOrder, boolean symmetric,
            boolean trueSequential) {
        TinyRun run = new TinyRun(model, folder);
        run.calibrator = calibrator;
        run.actOrder = actOrder;
        run.symmetric = symmetric;
        run.format = symmetric ? CheckpointFormat.GPTQ : CheckpointFormat.GPTQ_V2;
        run.trueSequential = trueSequential;
        run.evaluate = true;
        run.shardBytes = 200_000;
        return run;
    }

    @Test
    void a_run_that_is_stopped_again_and_again_gets_to_its_end() {
        TinyRun run = llama();
        TinyRun undisturbed = llama();
        undisturbed.output = folder.resolve("undisturbed");
        undisturbed.run();

        for (String stop : List.of("block 1/2: forward", "block 1/2: solve", "block 2/2: hessian", "block 1/2: resume",
                "block 2/2: solve")) {
            stop(run, stop);
        }
        RunReport report = run.run();

        assertEquals(Checksums.of(undisturbed.output), Checksums.of(run.output));
        assertEquals(3, report.resumed().starts().size(), "all starts after the one that finished the first block");
    }

    @Test
    void it_says_what_it_kept_and_where_and_what_it_goes_on_from() {
        TinyRun run = llama();

        stop(run, "block 2/2: solve");
        assertSaid(run, "saved 1 of 2 blocks", " MB in " + folder.resolve(".out.partial"),
                "run the same command to resume",
                "--fresh");
        run.log.clear();

        RunReport report = run.run();

        assertSaid(run, "resuming after block 1 of 2 (same settings, started " + report.started() + ")");
        assertTrue(run.log.stream().noneMatch(line -> line.startsWith("saved")), run.log.toString());
        assertTrue(!Files.exists(folder.resolve(".out.partial")), "nothing is left of a complete run");
    }

    @Test
    void no_finished_work_is_done_again() {
        TinyRun run = llama();
        run.calibrator = CalibratorKind.GRADIENT;
        run.evaluate = true;
        stop(run, "block 2/2: solve");
        List<String> phases = new ArrayList<>();
        run.progress = (phase, done, total) -> phases.add(phase);

        run.run();

        for (String finished : List.of("gradients", "block 1/2: hessian", "block 1/2: solve")) {
            assertTrue(phases.stream().noneMatch(phase -> phase.contains(finished)), finished + " in " + phases);
        }
        for (String needed : List.of("block 1/2: resume", "block 2/2: hessian", "evaluate")) {
            assertTrue(phases.stream().anyMatch(phase -> phase.contains(needed)), needed + " not in " + phases);
        }
    }

    @Test
    void rounding_to_nearest_needs_nothing_of_the_finished_blocks() {
        TinyRun run = llama();
        run.calibrator = CalibratorKind.RTN;
        stop(run, "block 2/2: solve");
        run.progress = (phase, done, total) -> assertTrue(!phase.contains("block 1/2"), phase);

        assertEquals(1, run.run().resumed().blocks());
    }

    @ParameterizedTest
    @CsvSource({"GPTQ, false, block 1/2: solve", "GPTQ, true, block 2/2: solve", "GPTQ, false, evaluate",
            "GRADIENT, false, block 2/2: hessian", "RTN, false, block 2/2: solve"})
    void progress_of_a_resumed_run_never_falls_and_ends_at_its_total(CalibratorKind calibrator, boolean trueSequential,
            String stop) {
        TinyRun run = llama();
        run.calibrator = calibrator;
        run.trueSequential = trueSequential;
        run.evaluate = true;
        stop(run, stop);
        run.runWithRisingProgress();
    }

    private TinyRun llama() {
        Path model = folder.resolve("model");
        return new TinyRun(Files.exists(model) ? model : TinyModel.LLAMA.write(model), folder);
    }

    /** Runs it until it gets there. */
    static void stop(TinyRun run, String where) {
        Progress before = run.progress;
        run.progress = stopIn(where);
        assertThrows(CancellationException.class, run::run, () -> where + " was never reached");
        run.progress = before;
    }

    private static Progress stopIn(String where) {
        return (phase, done, total) -> {
            if (phase.contains(where)) {
                throw new CancellationException(phase);
            }
        };
    }

    private static void assertSaid(TinyRun run, String... parts) {
        assertTrue(run.log.stream().anyMatch(line -> Stream.of(parts).allMatch(line::contains)),
                () -> String.join(" ... ", parts) + " not in " + run.log);
    }
}
