package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.Prefetch;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.journal.Identity;
import dev.optgptq.gptq.journal.WriteBehind;
import dev.optgptq.gptq.refine.SolvedLinear;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.report.Ablations;
import dev.optgptq.gptq.report.LayerReports;
import dev.optgptq.gptq.report.ReportBuilder;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.checkpoint.BlockRecord;
import dev.optgptq.gptq.run.checkpoint.BlockRecorder;
import dev.optgptq.gptq.run.checkpoint.CheckpointOutput;
import dev.optgptq.gptq.run.checkpoint.CheckpointPlan;
import dev.optgptq.gptq.run.checkpoint.LinearPacker;
import dev.optgptq.gptq.run.checkpoint.OutputConfig;
import dev.optgptq.gptq.run.checkpoint.TunedParameters;
import dev.optgptq.gptq.run.memory.MemoryNeed;
import dev.optgptq.gptq.run.memory.MemoryPlan;
import dev.optgptq.gptq.run.memory.ProcessMemory;
import dev.optgptq.gptq.run.progress.PhaseClock;
import dev.optgptq.gptq.run.progress.RunProgress;
import dev.optgptq.gptq.run.progress.WorkCount;
import dev.optgptq.gptq.run.resume.RunIdentity;
import dev.optgptq.gptq.run.resume.RunJournal;
import dev.optgptq.gptq.run.resume.SavedResults;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.RunTexts;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.tune.HeldOutLosses;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * The whole job: read, calibrate, solve, write, read back, evaluate. The output directory appears complete or not at all;
 * what was finished before a run was interrupted, the next run of the same settings goes on from.
 */
public final class QuantizeRun {

    private final QuantizeSettings settings;
    private final Device device;
    private final ModelDirectory source;
    private final Transformer model;
    private final Replicas models;
    /** The same models as the calibration stream passes through them. */
    private final Replicas calibrated;
    private final Calibrator calibrator;
    private final CheckpointPlan plan;
    private final RunTexts texts;
    private final PhaseClock clock;
    private final RunProgress progress;
    private final Consumer<String> log;
    private final List<RunReport.Layer> layers = new ArrayList<>();
    private final List<StepOutcome> steps = new ArrayList<>();
    private @Nullable HeldOutLosses heldOut;

    /**
     * Quantizes a model directory. Throws UserError.
     *
     * @param devices calibration is spread over them; the checkpoint is that of one of them
     * @param origin who runs it, for the report and the checkpoint's provenance
     * @param log hears what was decided, one line at a time: the memory plan, warnings, problems
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
            return run(settings, source, spec -> RunTexts.read(settings, spec), devices, origin, listener, log,
                    maxShardBytes, clock);
        }
    }

    /**
     * Quantizes a model that is open, calibrated on given tokens and not evaluated: for measuring.
     *
     * @param calibration settings.samples() sequences
     */
    public static RunReport measure(QuantizeSettings settings, ModelDirectory source, TokenSequences calibration,
            DeviceGroup devices, Origin origin, Progress listener, Consumer<String> log) {
        return run(settings, source, spec -> new RunTexts(calibration, null, "none"), devices, origin, listener, log,
                CheckpointWriter.DEFAULT_SHARD_BYTES,
                new PhaseClock(devices.first(), "open"));
    }

    private static RunReport run(QuantizeSettings settings, ModelDirectory source, Function<ModelSpec, RunTexts> read,
            DeviceGroup devices, Origin origin, Progress listener, Consumer<String> log, long maxShardBytes,
            PhaseClock clock) {
        Device device = devices.first();
        try (ProcessMemory memory = new ProcessMemory()) {
            Transformer model = Transformer.open(source, device);
            Preflight.check(settings, source, model.spec());
            CheckpointPlan plan = CheckpointPlan.of(source, model.spec(), settings.grid().bits(),
                    settings.grid().groupSize());
            List<String> warnings = new ArrayList<>(Preflight.warnings(settings, model.spec()));
            warnings.forEach(log);
            clock.enter("tokenize");
            RunTexts texts = read.apply(model.spec());
            MatmulDtype products = MatmulDtype.choose(settings.calibrationPrecision(), source, model.spec(), device);
            if (products.remark() != null && texts.calibration() != null) {
                log.accept(products.remark());
            }
            MemoryPlan memoryPlan = MemoryPlan.of(job(settings, model, products.dtype(), devices), texts,
                    MemoryNeed.Free.of(devices.devices())).prefetching(model.prefetchBytes());
            memoryPlan.require();
            log.accept("memory: about " + (memoryPlan.total() >> 20) + " MiB needed: " + memoryPlan);
            if (memoryPlan.busyDevices() < devices.size()) {
                log.accept("device memory allows only " + memoryPlan.busyDevices() + " of " + devices.size()
                        + " devices to share the calibration");
            }
            QuantizeRun run = new QuantizeRun(settings, source, Replicas.of(model, devices.devices()), products.dtype(),
                    plan, texts, memoryPlan, clock, listener, log);
            Identity identity = RunIdentity.of(settings, products.dtype(), memoryPlan, origin, device,
                    source,
                    texts.calibration());
            try (RunJournal journal = RunJournal.open(settings, identity, model.spec().blocks(), log)) {
                RunReport.@Nullable Quality quality = run.execute(journal, origin, memoryPlan, maxShardBytes);
                Ablations.warning(run.heldOut).ifPresent(warning -> {
                    warnings.add(warning);
                    log.accept(warning);
                });
                List<RunReport.Phase> phases = clock.phases();
                return new ReportBuilder(settings, products.dtype(), origin, devices, model.spec(), source).build(
                        journal.started(), journal.resumed(),
                        new ReportBuilder.Written(plan.bytes(), plan.keptBytes(), plan.quantizedParameters()),
                        run.layers, phases, new RunReport.Memory(memoryPlan.total(), devices.peakMemory(),
                                memory.peakAnonymous(), memoryPlan.spilled()),
                        quality, warnings,
                        Ablations.of(run.steps, texts.calibration(), phases, run.heldOut));
            }
        }
    }

    private QuantizeRun(QuantizeSettings settings, ModelDirectory source, Replicas models, DType products,
            CheckpointPlan plan, RunTexts texts, MemoryPlan memoryPlan, PhaseClock clock, Progress listener,
            Consumer<String> log) {
        this.settings = settings;
        this.models = models;
        this.model = models.first();
        this.device = model.device();
        this.source = source;
        this.calibrated = models.withProducts(products);
        this.texts = texts;
        this.calibrator = settings.calibrator();
        this.plan = plan;
        this.clock = clock;
        this.log = log;
        WorkCount flops = new WorkCount(model.spec(), !memoryPlan.gradients().resident());
        this.progress = new RunProgress(clock, flops, listener,
                flops.run(texts, calibrator, settings));
    }

    private static MemoryPlan.Job job(QuantizeSettings settings, Transformer model, DType products,
            DeviceGroup devices) {
        return new MemoryPlan.Job(model.spec(), products, settings.grid().bits(), settings.grid().groupSize(),
                settings.isGradient() ? settings.refinement() : null,
                devices.size());
    }

    private RunReport.@Nullable Quality execute(RunJournal journal, Origin origin, MemoryPlan memoryPlan,
            long maxShardBytes) {
        journal.requireSpace(plan);
        OutputConfig config = new OutputConfig(settings, source, plan);
        TokenSequences evaluation = texts.evaluation();
        goOn(journal, new SavedResults(journal.parts()));
        Perplexity before = evaluation == null ? null : before(new SavedResults(journal.parts()), evaluation);
        try (CheckpointWriter writer = new CheckpointWriter(journal.directory(), plan.specs(), maxShardBytes);
                WriteBehind behind = new WriteBehind(journal.directory().path(), memoryPlan.writing())) {
            CheckpointOutput output = new CheckpointOutput(writer, plan,
                    comesLater());
            behind.then(output::writeOutside);
            journal.writeBehind(behind, output::write);
            quantizeBlocks(journal, new LinearPacker(config.quantization(), device), memoryPlan);
            progress.enter("write", "checkpoint");
            behind.await();
            TunedParameters.find(journal.parts()).ifPresent(output::write);
            output.writeKept();
            config.write(writer, origin);
            writer.finishTensors();
            Perplexity after = readBack(writer, output, evaluation);
            // Finishing the directory removes the journal's parts from it.
            steps.addAll(GradientRun.outcomes(journal));
            heldOut = new SavedResults(journal.parts()).heldOutLosses().orElse(null);
            progress.enter("write", "finish");
            writer.finish();
            journal.complete();
            return before == null || after == null ? null : quality(before, after);
        }
    }

    /** Which tensors are learned when all blocks are finished. */
    private Predicate<String> comesLater() {
        return settings.isGradient()
                ? TunedParameters.tensors(model.spec(), settings.refinement())
                : TunedParameters.NONE;
    }

    /** Takes over what earlier runs found out, and what that took. */
    private void goOn(RunJournal journal, SavedResults saved) {
        clock.add(journal.phases());
        journal.finished().forEach(block -> layers.addAll(block.layers()));
        progress.skip(progress.flops().finished(journal.finished().size(), texts, calibrator, settings));
        TokenSequences calibration = texts.calibration();
        if (calibration != null && settings.weighsTokens() && (saved.hasSaliency() || isSolved(journal))) {
            progress.skip(progress.flops().gradients(calibration));
        }
    }

    private boolean isSolved(RunJournal journal) {
        return journal.finished().size() == model.spec().blocks();
    }

    private Perplexity before(SavedResults saved, TokenSequences evaluation) {
        Optional<Perplexity> known = saved.perplexity(evaluation);
        if (known.isPresent()) {
            progress.skip(progress.flops().evaluation(evaluation));
            return known.get();
        }
        Perplexity before = evaluate(models, evaluation, "before");
        progress.enter("write");
        saved.save(before, evaluation, clock.phases());
        return before;
    }

    private void quantizeBlocks(RunJournal journal, LinearPacker packer, MemoryPlan memoryPlan) {
        TokenSequences calibration = texts.calibration();
        if (calibrator.needsGradients() && calibration != null) {
            GradientRun gradients = new GradientRun(models, calibrator.settings(), settings.refinement(),
                    calibration, plan,
                    memoryPlan, packer, progress, clock);
            if (!gradients.isDone(journal)) {
                gradients.run(journal, this::record);
            }
            return;
        }
        if (isSolved(journal)) {
            return;
        }
        progress.enter("load", "calibration");
        try (CalibrationStream stream = openStream(memoryPlan);
                Prefetch prefetch = models.prefetch(memoryPlan.ahead())) {
            BlockQuantizer quantizer = new BlockQuantizer(calibrated, calibrator, settings.solving().trueSequential(),
                    progress);
            if (stream != null) {
                for (int block = 0; block < journal.finished().size(); block++) {
                    prefetch.wants(block);
                    BlockRecord record = journal.finished().get(block);
                    quantizer.replay(block, stream, weights -> record.restore(calibrated.first(), weights, packer));
                }
            }
            for (int block = journal.finished().size(); block < model.spec().blocks(); block++) {
                prefetch.wants(block);
                quantizeBlock(block, quantizer, stream, journal, packer);
            }
        }
    }

    private void quantizeBlock(int block, BlockQuantizer quantizer, @Nullable CalibrationStream stream,
            RunJournal journal, LinearPacker packer) {
        try (BlockRecorder recorder = journal.record(plan.packed(model.spec().linears(block)), packer)) {
            quantizer.quantize(block, stream, solved -> {
                progress.enter("write");
                record(recorder, solved);
            });
            progress.enter("write");
            recorder.finish(clock.phases());
        }
    }

    private void record(BlockRecorder recorder, SolvedLinear solved) {
        RunReport.Layer layer = LayerReports.of(recorder.block(), solved, settings.solving().damp());
        recorder.write(solved.linear(), solved.solution().weight(), layer);
        layers.add(layer);
        if (layer.problem() != null) {
            log.accept(layer.module() + ": " + layer.problem());
        }
    }

    private @Nullable CalibrationStream openStream(MemoryPlan memoryPlan) {
        TokenSequences calibration = texts.calibration();
        if (calibration == null) {
            return null;
        }
        return CalibrationStream.embed(calibrated, calibration, memoryPlan.partition(calibration), memoryPlan.place());
    }

    /** Opens what was written as any reader would, compares it, and measures it. */
    private @Nullable Perplexity readBack(CheckpointWriter writer, CheckpointOutput output,
            @Nullable TokenSequences evaluation) {
        progress.enter("verify", "read back");
        try (ModelDirectory written = ModelDirectory.open(writer.workDirectory())) {
            output.verify(written, settings.threads());
            return evaluation == null
                    ? null
                    : evaluate(Replicas.of(Transformer.open(written, device), models.devices()), evaluation,
                            "after");
        }
    }

    private Perplexity evaluate(Replicas which, TokenSequences evaluation, String when) {
        progress.enter("evaluate " + when, "perplexity");
        return Perplexity.evaluate(which, evaluation, progress.part(progress.flops().evaluation(evaluation)));
    }

    private RunReport.Quality quality(Perplexity before, Perplexity after) {
        return new RunReport.Quality(texts.evaluationName(), before.window(), before.windowNll().length, score(before),
                score(after));
    }

    private static RunReport.Score score(Perplexity perplexity) {
        return new RunReport.Score(perplexity.perplexity(), perplexity.low(), perplexity.high());
    }
}
