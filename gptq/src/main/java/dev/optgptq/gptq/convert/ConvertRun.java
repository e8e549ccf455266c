package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.model.SourceFiles;
import dev.optgptq.gptq.convert.ConvertSettings.Heal;
import dev.optgptq.gptq.journal.Identity;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.run.progress.PhaseClock;
import dev.optgptq.kernels.Device;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ObjectNode;

/**
 * The whole conversion: read, convert layer by layer, write, read back, measure. The output directory appears complete or
 * not at all; the next run of the same settings resumes from what an interrupted one finished.
 */
public final class ConvertRun {

    private final ConvertSettings settings;
    /** Matmul dtype of the linears while they are healed. */
    private final DType products;
    private final Device device;
    private final ModelDirectory source;
    private final Transformer model;
    private final ModelSpec spec;
    /** Where each layer is to have its own number of heads, all that there are until that is chosen. */
    private HeadPlan plan;
    private final PhaseClock clock;
    private final Progress progress;
    private final Consumer<String> log;
    /** Whether positions change. */
    private final boolean toAlibi;
    private final List<ConvertReport.Layer> layers = new ArrayList<>();
    private ConvertReport.@Nullable Positions positions;
    private ConvertReport.@Nullable Budget budget;
    private ConvertReport.@Nullable Healed healed;

    /**
     * Converts a model directory. Throws UserError.
     *
     * @param tool name and version of this program, for the report
     * @param log receives decisions line by line
     */
    public static ConvertReport run(ConvertSettings settings, Device device, String tool, Progress progress,
            Consumer<String> log) {
        PhaseClock clock = new PhaseClock(device, "open");
        try (ModelDirectory source = ModelDirectory.open(settings.model())) {
            return run(settings, source, spec -> ConvertTexts.read(settings, spec), device, tool, progress, log, clock);
        }
    }

    /**
     * Converts an open model with given tokens and without evaluation: for benchmarks.
     *
     * @param heal windows of the text to heal with, if the settings want it
     */
    public static ConvertReport measure(ConvertSettings settings, ModelDirectory source, TokenSequences calibration,
            @Nullable TokenSequences heal, Device device, String tool, Progress progress, Consumer<String> log) {
        ConvertTexts texts = new ConvertTexts(calibration, heal == null ? null : HealTokens.of(heal), null, "none");
        return run(settings, source, spec -> texts, device, tool, progress, log, new PhaseClock(device, "open"));
    }

    private static ConvertReport run(ConvertSettings settings, ModelDirectory source,
            Function<ModelSpec, ConvertTexts> read, Device device, String tool, Progress progress,
            Consumer<String> log, PhaseClock clock) {
        Transformer model = Transformer.open(source, device);
        ConvertCheck.check(settings, source, model.spec());
        Heal heal = settings.heal();
        DType products = heal == null ? DType.F32 : HealPrecision.products(heal.precision(), model.spec(), device);
        HeadPlan plan = HeadPlan.of(model.spec(), settings.heads());
        ConvertTexts texts = read.apply(model.spec());
        List<String> warnings = ConvertCheck.warnings(settings, model.spec(), plan, texts.calibration());
        warnings.forEach(log);
        Identity identity = identity(settings, products, plan, texts, source, device, tool);
        ConvertRun run = new ConvertRun(settings, products, device, source, model, plan, clock, progress, log);
        try (ConvertJournal journal = ConvertJournal.open(settings, identity, model.spec().blocks(), log)) {
            ConvertReport.Quality quality = run.execute(journal, texts);
            return run.report(journal, tool, quality, warnings);
        }
    }

    private ConvertRun(ConvertSettings settings, DType products, Device device, ModelDirectory source,
            Transformer model,
            HeadPlan plan, PhaseClock clock, Progress progress, Consumer<String> log) {
        this.settings = settings;
        this.products = products;
        this.device = device;
        this.source = source;
        this.model = model;
        this.spec = model.spec();
        this.plan = plan;
        this.toAlibi = ConvertCheck.toAlibi(settings, spec);
        this.clock = clock;
        this.progress = progress;
        this.log = log;
    }

    private static Identity identity(ConvertSettings settings, DType products, HeadPlan plan, ConvertTexts texts,
            ModelDirectory source, Device device, String tool) {
        SequencedMap<String, String> facts = new LinkedHashMap<>();
        facts.put("the key-value heads",
                settings.heads().byLayer() ? settings.heads().words() : plan.kvHeads().toString());
        facts.put("--grouping", settings.grouping().name());
        facts.put("--layout", settings.form().name());
        facts.put("--positions", settings.positions().name());
        facts.put("the calibration text", texts.calibration().digest());
        Heal heal = settings.heal();
        if (heal != null && texts.heal() != null) {
            facts.put("the text to heal with", texts.heal().windows().digest());
            facts.put("--heal",
                    heal.steps() + ", " + heal.scope() + ", rate " + (heal.rate() == null ? "chosen" : heal.rate())
                            + ", decay " + heal.decay() + ", " + heal.batch() + " sequences, seed " + heal.seed() + ", "
                            + products);
        }
        facts.put("the program", tool);
        facts.put("Java", Runtime.version().toString());
        facts.put("the device", device.arithmetic());
        facts.putAll(SourceFiles.describe(source));
        return new Identity(facts);
    }

    private ConvertReport.@Nullable Quality execute(ConvertJournal journal, ConvertTexts texts) {
        long bytes = source.tensors().values().stream().mapToLong(view -> view.data().byteSize()).sum();
        journal.directory().requireSpace(2 * bytes);
        int length = texts.calibration().length();
        try (TargetForm form = TargetForm.of(source, spec, plan, settings, toAlibi, length);
                TeacherText teacher = new TeacherText(model, texts.held(), form.layout() == null, products, progress)) {
            ConvertCheck.checkHealing(settings, form.base());
            List<Part> parts = new ArrayList<>();
            if (toAlibi) {
                parts.addAll(changePositions(form, teacher, journal, texts.calibration()));
            }
            if (!toAlibi || settings.heads().byLayer() || plan.kvHeads().getFirst() < plan.before()) {
                parts.addAll(mergeHeads(form, parts, journal, texts.calibration()));
            }
            Heal heal = settings.heal();
            if (heal != null) {
                parts.add(heal(heal, teacher, journal, form, parts));
            }
            return write(form, parts, journal, texts);
        }
    }

    private List<Part> changePositions(TargetForm form, TeacherText teacher, ConvertJournal journal,
            TokenSequences calibration) {
        clock.enter("positions");
        PositionStarts starts = new PositionStarts(teacher, settings.heal(), progress, log);
        PositionStage.Positioned found = new PositionStage(model, form.base(), starts, journal, progress, log,
                settings.threads())
                .run(spec.embedding().positions() == null ? PositionStage.ROTARY : "learned", calibration);
        positions = found.report();
        return found.parts();
    }

    /** Of the model as it is by now. */
    private List<Part> mergeHeads(TargetForm form, List<Part> sofar, ConvertJournal journal,
            TokenSequences calibration) {
        ObjectNode config = (ObjectNode) form.base().config().json().deepCopy();
        try (ConvertedModel before = new ConvertedModel(form.base(), config, sofar);
                ModelDirectory directory = before.directory()) {
            Transformer whole = Transformer.open(directory, device);
            if (settings.heads().byLayer()) {
                clock.enter("costs");
                ConvertReport.Budget chosen = new HeadChoice(whole, journal, progress, log, settings.threads())
                        .choose(HeadPlan.total(spec, settings.heads()), calibration);
                plan = new HeadPlan(plan.before(),
                        chosen.layers().stream().map(ConvertReport.LayerCost::kvHeads).toList());
                budget = chosen;
            }
            HeadMerging.Merged merged = new HeadMerging(whole, directory, plan, settings.grouping(), journal,
                    clock, progress, settings.threads()).run(calibration);
            layers.addAll(merged.layers());
            return merged.parts();
        }
    }

    private Part heal(Heal heal, TeacherText teacher, ConvertJournal journal, TargetForm form, List<Part> parts) {
        clock.enter("heal");
        try (ConvertedModel converted = new ConvertedModel(form.base(), form.config(plan), parts);
                ModelDirectory directory = converted.directory()) {
            Healing.Healed found = new Healing(form.base(), teacher, heal, journal, progress, log).heal(directory);
            healed = healed(heal, found);
            return found.part();
        }
    }

    private ConvertReport.@Nullable Quality write(TargetForm form, List<Part> parts, ConvertJournal journal,
            ConvertTexts texts) {
        clock.enter("write");
        ObjectNode config = form.config(plan);
        try (ConvertedModel converted = new ConvertedModel(form.base(), config, parts);
                CheckpointWriter writer = new CheckpointWriter(journal.directory(), converted.specs(),
                        CheckpointWriter.DEFAULT_SHARD_BYTES)) {
            converted.write(writer);
            writer.writeJson("config.json", config);
            source.companions().forEach(writer::copy);
            form.writeCode(writer);
            writer.finishTensors();
            ConvertReport.Quality quality = readBack(writer, converted, texts);
            writer.finish();
            journal.complete();
            return quality;
        }
    }

    private static ConvertReport.Healed healed(Heal heal, Healing.Healed found) {
        Healing.Saved saved = found.saved();
        return new ConvertReport.Healed(saved.state().done(), heal.steps(), saved.state().before(),
                saved.state().best(), saved.state().factor(),
                saved.trials().stream().map(trial -> new ConvertReport.Trial(trial.rate(), trial.divergence()))
                        .toList(),
                saved.curve().stream().map(look -> new ConvertReport.Look(look.step(), look.divergence())).toList(),
                found.tokensPerSecond());
    }

    /** Opens the written model as any reader would, compares it, and evaluates it. */
    private ConvertReport.@Nullable Quality readBack(CheckpointWriter writer, ConvertedModel converted,
            ConvertTexts texts) {
        progress.at("read back", spec.blocks(), spec.blocks());
        clock.enter("verify");
        try (ModelDirectory written = ModelDirectory.open(writer.workDirectory())) {
            converted.verify(written);
            Transformer after = Transformer.open(written, device);
            TokenSequences windows = texts.evaluation();
            if (windows == null) {
                return null;
            }
            clock.enter("evaluate");
            ModelComparison found = ModelComparison.evaluate(model, after, windows, progress);
            return new ConvertReport.Quality(texts.evaluationName(), windows.length(), windows.count(),
                    found.baseline().perplexity(), found.candidate().perplexity(), found.test().difference(),
                    found.test().low(), found.test().high(), found.divergence());
        }
    }

    private ConvertReport report(ConvertJournal journal, String tool, ConvertReport.@Nullable Quality quality,
            List<String> warnings) {
        Mixer.Attention attention = HeadPlan.attention(spec);
        int bytes = DType.F16.bytes();
        List<ConvertReport.Phase> phases = clock.phases().stream()
                .map(phase -> new ConvertReport.Phase(phase.name(), phase.seconds())).toList();
        return new ConvertReport(1, tool, journal.started(), ConvertCommand.of(settings),
                new ConvertReport.Model(settings.model().toString(), settings.output().toString(), spec.family(),
                        spec.blocks(), spec.hiddenSize(), attention.heads(), attention.headDim(),
                        device.description()),
                positions, budget, layers,
                new ConvertReport.Cache(
                        HeadPlan.bytesPerToken(Collections.nCopies(spec.blocks(), plan.before()),
                                attention.headDim(), bytes),
                        HeadPlan.bytesPerToken(plan.kvHeads(), attention.headDim(), bytes)),
                healed, quality, seconds(phases), phases, warnings);
    }

    private static double seconds(List<ConvertReport.Phase> phases) {
        return phases.stream().mapToDouble(ConvertReport.Phase::seconds).sum();
    }
}
