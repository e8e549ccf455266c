package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.BundledText;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.model.SourceFiles;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.gptq.convert.ConvertSettings.Calibration;
import dev.optgptq.gptq.convert.ConvertSettings.Evaluation;
import dev.optgptq.gptq.convert.ConvertSettings.Heal;
import dev.optgptq.gptq.journal.Identity;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.function.Consumer;
import tools.jackson.databind.node.ObjectNode;
import org.jspecify.annotations.Nullable;

/**
 * The whole conversion: read, convert layer by layer, write, read back, measure. The output directory appears complete or
 * not at all; the next run of the same settings resumes from what an interrupted one finished.
 */
public final class ConvertRun {

    private final ConvertSettings settings;
    private final Device device;
    private final ModelDirectory source;
    private final Transformer model;
    private final ModelSpec spec;
    private final HeadPlan plan;
    private final Progress progress;
    private final Consumer<String> log;
    /** Whether positions change. */
    private final boolean toAlibi;
    private final List<ConvertReport.Layer> layers = new ArrayList<>();
    private ConvertReport.@Nullable Positions positions;
    private ConvertReport.@Nullable Healed healed;

    /**
     * Converts a model directory. Throws UserError.
     *
     * @param tool name and version of this program, for the report
     * @param log receives decisions line by line
     */
    public static ConvertReport run(ConvertSettings settings, Device device, String tool, Progress progress,
            Consumer<String> log) {
        long begun = System.nanoTime();
        try (ModelDirectory source = ModelDirectory.open(settings.model())) {
            Transformer model = Transformer.open(source, device);
            ConvertCheck.check(settings, source, model.spec());
            HeadPlan plan = HeadPlan.uniform(model.spec(), settings.heads());
            Texts texts = Texts.read(settings, model.spec());
            List<String> warnings = ConvertCheck.warnings(settings, model.spec(), plan);
            warnings.forEach(log);
            Identity identity = identity(settings, plan, texts, source, device, tool);
            ConvertRun run = new ConvertRun(settings, device, source, model, plan, progress, log);
            try (ConvertJournal journal = ConvertJournal.open(settings, identity, model.spec().blocks(), log)) {
                ConvertReport.Quality quality = run.execute(journal, texts);
                return run.report(journal, tool, quality, warnings, (System.nanoTime() - begun) * 1e-9);
            }
        }
    }

    private ConvertRun(ConvertSettings settings, Device device, ModelDirectory source, Transformer model,
            HeadPlan plan, Progress progress, Consumer<String> log) {
        this.settings = settings;
        this.device = device;
        this.source = source;
        this.model = model;
        this.spec = model.spec();
        this.plan = plan;
        this.toAlibi = ConvertCheck.toAlibi(settings, spec);
        this.progress = progress;
        this.log = log;
    }

    /** The tokens, read before anything is computed so that a bad text fails at once. */
    private record Texts(TokenSequences calibration, @Nullable HealTokens heal, @Nullable TokenSequences evaluation,
            String evaluationName) {

        /** What is healed with, or else a quarter of the calibration text to compare by. */
        private HealTokens held() {
            int count = calibration.count();
            return heal != null ? heal : new HealTokens(calibration, count - Math.max(1, count / 4));
        }

        private static Texts read(ConvertSettings settings, ModelSpec spec) {
            Calibration wanted = settings.calibration();
            Evaluation evaluation = settings.evaluation();
            try (Tokenizer tokenizer = Tokenizer.load(settings.model())) {
                TokenSequences calibration = wanted.text() == null
                        ? TokenSequences.sample(BundledText.calibration(), "the bundled calibration text", tokenizer,
                                wanted.sampling(), wanted.samples(), wanted.length(), wanted.seed())
                        : TokenSequences.sample(wanted.text(), tokenizer, wanted.sampling(), wanted.samples(),
                                wanted.length(), wanted.seed());
                calibration.requireVocabulary(spec.vocabSize());
                HealTokens heal = healTokens(settings, tokenizer);
                if (heal != null) {
                    heal.text().requireVocabulary(spec.vocabSize());
                }
                if (evaluation == null) {
                    return new Texts(calibration, heal, null, "none");
                }
                int window = Math.min(evaluation.window(), spec.maxPositions());
                TokenSequences windows = evaluation.text() == null
                        ? TokenSequences.windows(BundledText.evaluation(), "the bundled evaluation text", tokenizer,
                                window)
                        : TokenSequences.windows(evaluation.text(), tokenizer, window);
                windows.requireVocabulary(spec.vocabSize());
                return new Texts(calibration, heal, windows, evaluation.text() == null
                        ? "the bundled evaluation text"
                        : evaluation.text().toString());
            }
        }
    }

    private static @Nullable HealTokens healTokens(ConvertSettings settings, Tokenizer tokenizer) {
        Heal heal = settings.heal();
        if (heal == null) {
            return null;
        }
        Path text = heal.text() == null ? settings.calibration().text() : heal.text();
        return HealTokens.of(text == null
                ? TokenSequences.windows(BundledText.calibration(), "the bundled calibration text", tokenizer,
                        heal.length())
                : TokenSequences.windows(text, tokenizer, heal.length()));
    }

    private static Identity identity(ConvertSettings settings, HeadPlan plan, Texts texts,
            ModelDirectory source, Device device, String tool) {
        SequencedMap<String, String> facts = new LinkedHashMap<>();
        facts.put("the key-value heads", plan.kvHeads().toString());
        facts.put("--positions", settings.positions().name());
        facts.put("the calibration text", texts.calibration().digest());
        Heal heal = settings.heal();
        if (heal != null && texts.heal() != null) {
            facts.put("the text to heal with", texts.heal().text().digest());
            facts.put("--heal",
                    heal.steps() + ", " + heal.scope() + ", rate " + (heal.rate() == null ? "chosen" : heal.rate())
                            + ", decay " + heal.decay()
                            + ", " + heal.batch() + " sequences, seed " + heal.seed());
        }
        facts.put("the program", tool);
        facts.put("Java", Runtime.version().toString());
        facts.put("the device", device.arithmetic());
        facts.putAll(SourceFiles.describe(source));
        return new Identity(facts);
    }

    private ConvertReport.@Nullable Quality execute(ConvertJournal journal, Texts texts) {
        long bytes = source.tensors().values().stream().mapToLong(view -> view.data().byteSize()).sum();
        journal.directory().requireSpace(2 * bytes);
        int length = texts.calibration().length();
        try (TargetForm form = TargetForm.of(source, spec, plan, toAlibi, length);
                TeacherText teacher = new TeacherText(model, texts.held(), form.layout() == null, progress)) {
            List<Part> parts = new ArrayList<>();
            if (toAlibi) {
                parts.addAll(changePositions(form, teacher, journal, texts.calibration()));
            }
            if (!toAlibi || form.kvHeads() < plan.before()) {
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
        PositionStarts starts = new PositionStarts(teacher, settings.heal(), progress, log);
        PositionStage.Positioned found = new PositionStage(model, form.base(), starts, journal, progress, log)
                .run(spec.embedding().positions() == null ? "rotary" : "learned", calibration);
        positions = found.report();
        return found.parts();
    }

    /** Of the model as it is by now. */
    private List<Part> mergeHeads(TargetForm form, List<Part> sofar, ConvertJournal journal,
            TokenSequences calibration) {
        ObjectNode config = (ObjectNode) form.base().config().json().deepCopy();
        try (ConvertedModel before = new ConvertedModel(form.base(), config, sofar);
                ModelDirectory directory = before.directory()) {
            HeadMerging.Merged merged = new HeadMerging(Transformer.open(directory, device), directory, plan, journal,
                    progress).run(calibration);
            layers.addAll(merged.layers());
            return merged.parts();
        }
    }

    private Part heal(Heal heal, TeacherText teacher, ConvertJournal journal, TargetForm form, List<Part> parts) {
        try (ConvertedModel converted = new ConvertedModel(form.base(), form.config(), parts);
                ModelDirectory directory = converted.directory()) {
            Healing.Healed found = new Healing(form.base(), teacher, heal, journal, progress, log).heal(directory);
            healed = healed(heal, found.saved());
            return found.part();
        }
    }

    private ConvertReport.@Nullable Quality write(TargetForm form, List<Part> parts, ConvertJournal journal,
            Texts texts) {
        ObjectNode config = form.config();
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

    private static ConvertReport.Healed healed(Heal heal, Healing.Saved saved) {
        return new ConvertReport.Healed(saved.state().done(), heal.steps(), saved.state().before(),
                saved.state().best(), saved.state().factor(),
                saved.trials().stream().map(trial -> new ConvertReport.Trial(trial.rate(), trial.divergence()))
                        .toList(),
                saved.curve().stream().map(look -> new ConvertReport.Look(look.step(), look.divergence())).toList());
    }

    /** Opens the written model as any reader would, compares it, and evaluates it. */
    private ConvertReport.@Nullable Quality readBack(CheckpointWriter writer, ConvertedModel converted, Texts texts) {
        progress.at("read back", spec.blocks(), spec.blocks());
        try (ModelDirectory written = ModelDirectory.open(writer.workDirectory())) {
            converted.verify(written);
            Transformer after = Transformer.open(written, device);
            TokenSequences windows = texts.evaluation();
            if (windows == null) {
                return null;
            }
            ModelComparison found = ModelComparison.evaluate(model, after, windows, progress);
            return new ConvertReport.Quality(texts.evaluationName(), windows.length(), windows.count(),
                    found.baseline().perplexity(), found.candidate().perplexity(), found.test().difference(),
                    found.test().low(), found.test().high(), found.divergence());
        }
    }

    private ConvertReport report(ConvertJournal journal, String tool, ConvertReport.@Nullable Quality quality,
            List<String> warnings, double seconds) {
        Mixer.Attention attention = HeadPlan.attention(spec);
        SequencedMap<String, String> command = new LinkedHashMap<>();
        command.put("--kv-heads", plan.kvHeads().toString());
        command.put("--samples", String.valueOf(settings.calibration().samples()));
        command.put("--sequence-length", String.valueOf(settings.calibration().length()));
        int bytes = DType.F16.bytes();
        return new ConvertReport(1, tool, journal.started(), command,
                new ConvertReport.Model(settings.model().toString(), settings.output().toString(), spec.family(),
                        spec.blocks(), spec.hiddenSize(), attention.heads(), attention.headDim(),
                        device.description()),
                positions, layers,
                new ConvertReport.Cache(
                        HeadPlan.bytesPerToken(Collections.nCopies(spec.blocks(), plan.before()),
                                attention.headDim(), bytes),
                        HeadPlan.bytesPerToken(plan.kvHeads(), attention.headDim(), bytes)),
                healed, quality, seconds, warnings);
    }
}
