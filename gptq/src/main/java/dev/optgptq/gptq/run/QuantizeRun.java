package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.SolveSettings;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Grid;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** The whole job: read, calibrate, solve, write, read back, evaluate. The output directory appears complete or not at all. */
public final class QuantizeRun {

    private final QuantizeSettings settings;
    private final Device device;
    private final ModelDirectory source;
    private final Transformer model;
    /** The same model as the calibration stream passes through it. */
    private final Transformer calibrated;
    private final Calibrator calibrator;
    private final CheckpointPlan plan;
    private final RunTexts texts;
    private final RunProgress progress;
    private final List<RunReport.Layer> layers = new ArrayList<>();

    /**
     * Quantizes a model directory. Throws UserError.
     *
     * @param origin who runs it, for the report and the checkpoint's provenance
     * @param log hears what was decided, one line at a time: the memory plan, warnings, problems
     */
    public static RunReport run(QuantizeSettings settings, Device device, Origin origin, Progress listener,
            Consumer<String> log) {
        return run(settings, device, origin, listener, log, CheckpointWriter.DEFAULT_SHARD_BYTES);
    }

    /** @param maxShardBytes size above which the output is split */
    static RunReport run(QuantizeSettings settings, Device device, Origin origin, Progress listener,
            Consumer<String> log, long maxShardBytes) {
        Instant started = Instant.now().truncatedTo(ChronoUnit.SECONDS);
        PhaseClock clock = new PhaseClock(device, "open");
        try (ModelDirectory source = ModelDirectory.open(settings.model())) {
            return run(settings, source, spec -> RunTexts.read(settings, spec), device, origin, listener, log,
                    maxShardBytes, started, clock);
        }
    }

    /**
     * Quantizes a model that is open, calibrated on given tokens and not evaluated: for measuring.
     *
     * @param calibration settings.samples() sequences
     */
    public static RunReport measure(QuantizeSettings settings, ModelDirectory source, TokenSequences calibration,
            Device device, Origin origin, Progress listener, Consumer<String> log) {
        return run(settings, source, spec -> new RunTexts(calibration, null, "none"), device, origin, listener, log,
                CheckpointWriter.DEFAULT_SHARD_BYTES, Instant.now().truncatedTo(ChronoUnit.SECONDS),
                new PhaseClock(device, "open"));
    }

    private static RunReport run(QuantizeSettings settings, ModelDirectory source, Function<ModelSpec, RunTexts> read,
            Device device, Origin origin, Progress listener, Consumer<String> log, long maxShardBytes, Instant started,
            PhaseClock clock) {
        try (HostMemory memory = new HostMemory()) {
            Transformer model = Transformer.open(source, device);
            Preflight.check(settings, source, model.spec());
            CheckpointPlan plan = CheckpointPlan.of(source, model.spec(), settings.bits(), settings.groupSize());
            List<String> warnings = Preflight.warnings(settings, model.spec());
            warnings.forEach(log);
            clock.enter("tokenize");
            RunTexts texts = read.apply(model.spec());
            Products products = Products.choose(settings.precision(), source, model.spec(), device);
            if (products.remark() != null && texts.calibration() != null) {
                log.accept(products.remark());
            }
            MemoryPlan memoryPlan = memoryPlan(settings, model, products.dtype(), texts);
            log.accept("memory: about " + (memoryPlan.total() >> 20) + " MiB needed: " + memoryPlan);
            QuantizeRun run = new QuantizeRun(settings, source, model, products.dtype(), plan, texts, clock, listener);
            RunReport.@Nullable Quality quality = run.execute(origin, memoryPlan, maxShardBytes, log);
            return new ReportBuilder(settings, products.dtype(), origin, device, model.spec(), source).build(started, plan, run.layers,
                    clock.phases(), memory.peakAnonymous(), memoryPlan, quality, warnings);
        }
    }

    private QuantizeRun(QuantizeSettings settings, ModelDirectory source, Transformer model, DType products,
            CheckpointPlan plan, RunTexts texts, PhaseClock clock, Progress listener) {
        this.settings = settings;
        this.device = model.device();
        this.source = source;
        this.model = model;
        this.calibrated = model.withProducts(products);
        this.texts = texts;
        int groupSize = settings.groupSize() == -1 ? Integer.MAX_VALUE : settings.groupSize();
        Grid grid = new Grid(settings.bits(), settings.symmetric(), settings.clipSearch(), DType.F16);
        SolveSettings solve = new SolveSettings(grid, groupSize, settings.actOrder(), settings.damp());
        this.calibrator = switch (settings.calibrator()) {
            case RTN -> new Calibrator.RoundToNearest(solve);
            case GPTQ -> new Calibrator.Gptq(solve, settings.scaleSearch());
            case GRADIENT -> new Calibrator.Gradient(solve);
        };
        this.plan = plan;
        WorkCount flops = new WorkCount(model.spec());
        this.progress = new RunProgress(clock, flops, listener,
                flops.run(texts, calibrator, settings.trueSequential()));
    }

    private static MemoryPlan memoryPlan(QuantizeSettings settings, Transformer model, DType products,
            RunTexts texts) {
        MemoryPlan.Job job = new MemoryPlan.Job(model.spec(), products, settings.groupSize(),
                settings.calibrator() == QuantizeSettings.CalibratorKind.GRADIENT);
        MemoryPlan memoryPlan = MemoryPlan.of(job, texts,
                new MemoryPlan.Free(HostMemory.available(), model.device().freeMemory()));
        memoryPlan.require();
        return memoryPlan;
    }

    private RunReport.@Nullable Quality execute(Origin origin, MemoryPlan memoryPlan, long maxShardBytes,
            Consumer<String> log) {
        TokenSequences evaluation = texts.evaluation();
        Perplexity before = evaluation == null ? null : evaluate(model, evaluation, "before");
        try (CheckpointWriter writer = new CheckpointWriter(settings.output(), plan.specs(), maxShardBytes,
                settings.overwrite())) {
            OutputConfig config = new OutputConfig(settings, source, plan);
            CheckpointOutput output = new CheckpointOutput(writer, plan, config.quantization(), device);
            progress.enter("write", "unquantized tensors");
            output.writeKept();
            quantizeBlocks(output, memoryPlan, log);
            progress.enter("write", "finish");
            config.write(writer, origin);
            writer.finishTensors();
            Perplexity after = readBack(writer, output, evaluation);
            progress.enter("write", "finish");
            writer.finish();
            return before == null || after == null ? null : quality(before, after);
        }
    }

    private void quantizeBlocks(CheckpointOutput output, MemoryPlan memoryPlan, Consumer<String> log) {
        progress.enter("load", "calibration");
        try (CalibrationStream stream = openStream(memoryPlan)) {
            BlockQuantizer quantizer = new BlockQuantizer(calibrated, calibrator, settings.trueSequential(), progress);
            for (int block = 0; block < model.spec().blocks(); block++) {
                int index = block;
                quantizer.quantize(block, stream, solved -> {
                    progress.enter("write");
                    output.write(solved.linear(), solved.solution().weight());
                    RunReport.Layer layer = LayerReports.of(index, solved, settings.damp());
                    layers.add(layer);
                    if (layer.problem() != null) {
                        log.accept(layer.module() + ": " + layer.problem());
                    }
                });
            }
        }
    }

    private @Nullable CalibrationStream openStream(MemoryPlan memoryPlan) {
        TokenSequences calibration = texts.calibration();
        if (calibration == null) {
            return null;
        }
        if (!calibrator.needsGradients()) {
            return embed(calibration, memoryPlan);
        }
        Saliency saliency = captureSaliency(calibration, memoryPlan);
        progress.enter("load", "calibration");
        try {
            return embed(calibration, memoryPlan).weighedBy(saliency);
        } catch (RuntimeException e) {
            saliency.close();
            throw e;
        }
    }

    private CalibrationStream embed(TokenSequences calibration, MemoryPlan memoryPlan) {
        int hidden = model.spec().hiddenSize();
        ActivationStore activations = switch (memoryPlan.place()) {
            case DEVICE -> ActivationStore.onDevice(device, calibration.tokens(), hidden);
            case HOST -> new ActivationStore(calibration.tokens(), hidden, Long.MAX_VALUE);
            case FILE -> new ActivationStore(calibration.tokens(), hidden, 0);
        };
        return CalibrationStream.embed(calibrated, calibration, memoryPlan.batchRows(), activations);
    }

    private Saliency captureSaliency(TokenSequences calibration, MemoryPlan memoryPlan) {
        progress.enter("gradients", "calibration");
        return Saliency.capture(model, calibration, new NextToken(), memoryPlan.groupBytes(),
                memoryPlan.hostLimit(), progress.part(progress.flops().gradients(calibration)));
    }

    /** Opens what was written as any reader would, compares it, and measures it. */
    private @Nullable Perplexity readBack(CheckpointWriter writer, CheckpointOutput output,
            @Nullable TokenSequences evaluation) {
        progress.enter("verify", "read back");
        try (ModelDirectory written = ModelDirectory.open(writer.workDirectory())) {
            output.verify(written);
            return evaluation == null ? null : evaluate(Transformer.open(written, device), evaluation, "after");
        }
    }

    private Perplexity evaluate(Transformer which, TokenSequences evaluation, String when) {
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

    /**
     * Who runs it.
     *
     * @param tool "opt-gptq"
     * @param version of this program
     * @param defaults which options were not given
     */
    public record Origin(String tool, String version, List<String> defaults) {}
}
