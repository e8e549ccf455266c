package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.checkpoint.CheckedNumbers;
import dev.optgptq.gptq.run.checkpoint.LinearPacker;
import dev.optgptq.gptq.run.checkpoint.OutputDtype;
import dev.optgptq.gptq.run.checkpoint.ScaleCount;
import dev.optgptq.gptq.run.memory.ProcessMemory;
import dev.optgptq.gptq.run.progress.Forecast;
import dev.optgptq.gptq.run.progress.PhaseClock;
import dev.optgptq.gptq.run.resume.RunJournal;
import dev.optgptq.gptq.run.resume.SavedResults;
import dev.optgptq.gptq.run.resume.SharedJournal;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.RunTexts;
import dev.optgptq.kernels.DeviceGroup;
import java.util.SortedMap;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The whole job, as a recipe: prepare, calibrate and solve, write, verify, evaluate. The output directory appears complete or not
 * at all; the next run of the same settings resumes from what an interrupted one finished.
 */
public final class QuantizeRun {

    private final RunContext run;
    private final RunJournal journal;
    private final SharedJournal shared;

    private QuantizeRun(RunContext run, RunJournal journal) {
        this.run = run;
        this.journal = journal;
        this.shared = new SharedJournal(run.ranks(), run.grids(), journal);
    }

    /**
     * Quantizes a model directory. Throws UserError.
     *
     * @param devices they share the calibration; the checkpoint is the same as with one
     * @param origin who runs it, for the report and the checkpoint's provenance
     * @param log receives decisions line by line: the memory plan, warnings, problems
     */
    public static RunReport run(QuantizeSettings settings, DeviceGroup devices, Origin origin, Progress listener,
            Consumer<String> log) {
        return run(settings, devices, origin, listener, log, CheckpointWriter.DEFAULT_SHARD_BYTES);
    }

    /** @param maxShardBytes size above which the output is split */
    static RunReport run(QuantizeSettings settings, DeviceGroup devices, Origin origin, Progress listener,
            Consumer<String> log, long maxShardBytes) {
        PhaseClock clock = new PhaseClock(devices.first(), "open");
        try (ModelDirectory source = ModelDirectory.open(settings.model())) {
            return run(settings, new Caller(devices, origin, listener, log), source,
                    model -> RunTexts.read(settings, model, devices.crew().ranks()), clock, maxShardBytes);
        }
    }

    /**
     * Quantizes an open model with given calibration tokens and without evaluation: for benchmarks.
     *
     * @param calibration as many sequences as the settings say
     */
    public static RunReport measure(QuantizeSettings settings, ModelDirectory source, TokenSequences calibration,
            DeviceGroup devices, Origin origin, Progress listener, Consumer<String> log) {
        return run(settings, new Caller(devices, origin, listener, log), source,
                model -> new RunTexts(calibration, null, "none"), new PhaseClock(devices.first(), "open"),
                CheckpointWriter.DEFAULT_SHARD_BYTES);
    }

    /**
     * What another rank than the first does of a run: its share of the calibration and of the solving. It writes nothing. The
     * arguments are those of run.
     */
    public static void follow(QuantizeSettings settings, DeviceGroup devices, Origin origin, Progress listener,
            Consumer<String> log) {
        PhaseClock clock = new PhaseClock(devices.first(), "open");
        try (ModelDirectory source = ModelDirectory.open(settings.model())) {
            RunContext run = RunContext.prepare(settings, new Caller(devices, origin, listener, log), source,
                    model -> RunTexts.read(settings, model, devices.crew().ranks()), clock);
            Agreement.require(run);
            calibrateAndSolve(run, new LinearPacker(run.plan().quantization().inGptqLayout(), run.device()),
                    new SharedJournal(run.ranks(), run.grids(), null));
            compare(run);
        }
    }

    private static RunReport run(QuantizeSettings settings, Caller caller, ModelDirectory source,
            Function<ModelSpec, RunTexts> texts, PhaseClock clock, long maxShardBytes) {
        try (ProcessMemory memory = new ProcessMemory()) {
            RunContext run = RunContext.prepare(settings, caller, source, texts, clock).withBitsChosen();
            Agreement.require(run);
            try (RunJournal journal = run.openJournal()) {
                RunResults results = new QuantizeRun(run, journal).run(maxShardBytes);
                return results.report(run, journal, memory.peakAnonymous());
            }
        }
    }

    private RunResults run(long maxShardBytes) {
        journal.requireSpace(run.plan());
        resume();
        if (journal.finished().isEmpty()) {
            Forecast.lines(run.device(), run.model(), run.texts(), run.settings(), run.progress().flops(),
                    run.progress().total()).forEach(run.caller().log());
        }
        try (Checkpoint checkpoint = new Checkpoint(run, journal, maxShardBytes)) {
            calibrateAndSolve(run, checkpoint.packer(), shared);
            OutputDtype calibrated = dtype(null);
            checkpoint.write(calibrated);
            RunResults results = verifyAndEvaluate(checkpoint, calibrated);
            checkpoint.publish();
            return results;
        }
    }

    /** Restores the results and times of earlier runs. */
    private void resume() {
        run.clock().add(journal.phases());
        run.progress().skip(run.progress().flops().finished(journal.finished().size(), run.texts(), run.calibrator(),
                run.settings()));
        TokenSequences calibration = run.texts().calibration();
        boolean solved = journal.finished().size() == run.model().blocks();
        if (calibration != null && run.settings().weighsTokens()
                && (solved || new SavedResults(journal.parts()).hasSaliency())) {
            run.progress().skip(run.progress().flops().gradients(calibration));
        }
    }

    private static void calibrateAndSolve(RunContext run, LinearPacker packer, SharedJournal shared) {
        TokenSequences calibration = run.texts().calibration();
        if (calibration != null && run.calibrator().needsGradients()) {
            new GradientRun(run, calibration, packer).run(shared);
        } else {
            new GptqRun(run, packer).run(shared);
        }
    }

    /** @param comparison null where nothing was evaluated, or not yet */
    private OutputDtype dtype(@Nullable ModelComparison comparison) {
        return OutputDtype.choose(journal.finished(), comparison == null ? null : comparison.baseline(),
                run.source().config().json());
    }

    private RunResults verifyAndEvaluate(Checkpoint checkpoint, OutputDtype calibrated) {
        try (ModelDirectory written = checkpoint.open()) {
            SortedMap<String, ScaleCount> scales = checkpoint.verify(written);
            ModelComparison comparison = compare(written);
            OutputDtype dtype = dtype(comparison);
            if (!dtype.name().equals(calibrated.name())) {
                checkpoint.askFor(dtype);
            }
            CheckedNumbers numbers = new CheckedNumbers(dtype, scales);
            if (run.settings().grid().positiveScales()) {
                numbers.requirePositive();
            }
            return RunResults.of(journal, numbers, comparison);
        }
    }

    /** Original and quantized model side by side; null where nothing is evaluated. */
    private @Nullable ModelComparison compare(ModelDirectory written) {
        TokenSequences evaluation = run.texts().evaluation();
        if (evaluation == null) {
            return null;
        }
        run.progress().enter("evaluate", "original and quantized model");
        boolean shares = SharedCheckpoint.announce(run.ranks(), written);
        return compare(run, shares ? run.models() : run.models().alone(), written, evaluation);
    }

    /** The same on another rank, with its share of the windows. */
    private static void compare(RunContext run) {
        TokenSequences evaluation = run.texts().evaluation();
        if (evaluation == null) {
            return;
        }
        try (ModelDirectory written = SharedCheckpoint.await(run.ranks())) {
            if (written != null) {
                run.progress().enter("evaluate", "original and quantized model");
                compare(run, run.models(), written, evaluation);
            }
        }
    }

    private static ModelComparison compare(RunContext run, Replicas models, ModelDirectory written,
            TokenSequences evaluation) {
        Progress ofAll = run.progress().part(2 * run.progress().flops().evaluation(evaluation));
        ModelComparison found = ModelComparison.evaluate(models, models.with(Transformer.open(written, run.device())),
                evaluation, ofAll);
        // Devices work at one pace; one without a window says nothing.
        ofAll.at("", 1, 1);
        return found;
    }
}
