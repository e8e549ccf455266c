package dev.optgptq.cli.command;

import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.render.ReportFiles;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.QuantizeRun;
import dev.optgptq.gptq.run.QuantizeSettings;
import dev.optgptq.gptq.run.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;

@Command(name = "quantize", mixinStandardHelpOptions = true, sortOptions = false, usageHelpAutoWidth = true, description = {
        "Quantizes the linear layers of a model and writes a checkpoint that runtimes load as it is.",
        "MODEL_DIR alone is a complete command: every option has a default."}, footer = {"", "Examples:",
                "  opt-gptq quantize llama-7b", "  opt-gptq quantize llama-7b --bits 8 --output llama-7b-w8",
                "  opt-gptq quantize llama-7b --calibration my-domain.jsonl --sampling random --eval my-test.txt"})
final class QuantizeCommand implements Callable<Integer> {

    private static final int BUNDLED_LENGTH = 512;
    private static final int LONGEST_DEFAULT = 2048;
    private static final int WINDOW = 1024;

    @ParentCommand
    @SuppressWarnings("NullAway.Init") // picocli sets it before call()
    private OptGptq root;

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it before call()
    private CommandSpec spec;

    @Parameters(paramLabel = "MODEL_DIR", description = "a Hugging Face model directory (safetensors)")
    @SuppressWarnings("NullAway.Init") // required
    private Path model;

    @Option(names = "--output", paramLabel = "DIR", description = "the directory to write (default: beside the model, "
            + "named after the settings)")
    private @Nullable Path output;

    @Option(names = "--calibrator", paramLabel = "rtn|gptq", defaultValue = "gptq", description = "how codes are chosen: "
            + "gptq (default), or rtn, round to nearest, which needs no data")
    private CalibratorKind calibrator = CalibratorKind.GPTQ;

    @Option(names = "--bits", paramLabel = "2|3|4|8", defaultValue = "4", description = "bits per weight (default: 4)")
    private int bits;

    @Option(names = "--group-size", paramLabel = "N", defaultValue = "128", description = "inputs that share a scale, -1 "
            + "for all (default: 128); smaller is better and larger on disk")
    private int groupSize;

    @Option(names = "--symmetric", negatable = true, defaultValue = "true", fallbackValue = "true", description = "fixed "
            + "zero point (default); --no-symmetric is a little better and only GPTQModel loads it")
    private boolean symmetric;

    @Option(names = "--clip-search", description = "search each group's clip for the least error (slower)")
    private boolean clipSearch;

    @Option(names = "--act-order", paramLabel = "none|static|group", defaultValue = "none", description = "order in which "
            + "inputs are quantized (default: ${DEFAULT-VALUE}); group makes an irregular g_idx that runtimes serve slowly")
    private ActOrder actOrder = ActOrder.NONE;

    @Option(names = "--damp", paramLabel = "X", defaultValue = "0.01", description = "share of the Hessian's mean diagonal "
            + "added to it (default: 0.01); grows by itself where that is not enough")
    private double damp;

    @Option(names = "--true-sequential", description = "recompute inputs between the layers of a block (slower)")
    private boolean trueSequential;

    @Option(names = "--calibration", paramLabel = "FILE", description = "calibration text, .txt or .jsonl with \"text\" "
            + "(default: bundled WikiText-2)")
    private @Nullable Path calibration;

    @Option(names = "--sampling", paramLabel = "sequential|random", defaultValue = "sequential", description = "how "
            + "sequences are drawn (default: ${DEFAULT-VALUE})")
    private Sampling sampling = Sampling.SEQUENTIAL;

    @Option(names = "--samples", paramLabel = "N", defaultValue = "128", description = "calibration sequences (default: "
            + "128); time grows in proportion")
    private int samples;

    @Option(names = "--sequence-length", paramLabel = "N", description = "tokens in each (default: 512 with the bundled "
            + "text, else 2048 or the model's limit)")
    private @Nullable Integer sequenceLength;

    @Option(names = "--seed", paramLabel = "N", defaultValue = "0", description = "of --sampling random (default: 0)")
    private long seed;

    @Option(names = "--format", paramLabel = "gptq|gptq_v2", description = "checkpoint format (default: gptq; gptq_v2 for "
            + "--no-symmetric)")
    private @Nullable CheckpointFormat format;

    @Option(names = "--eval", paramLabel = "FILE|none", description = "text to measure perplexity on before and after "
            + "(default: bundled WikiText-2 test text)")
    private @Nullable String eval;

    @Option(names = "--window", paramLabel = "N", defaultValue = "1024", description = "tokens per evaluation window "
            + "(default: 1024)")
    private int window = WINDOW;

    @Option(names = "--report", paramLabel = "DIR", description = "where report.json and report.html go (default: the "
            + "output directory)")
    private @Nullable Path report;

    @Option(names = "--overwrite", description = "replace an existing output")
    private boolean overwrite;

    @Option(names = "--json", description = "print the report as JSON")
    private boolean json;

    @Mixin
    private final DeviceOptions device = new DeviceOptions();

    @Override
    public Integer call() {
        QuantizeSettings settings = settings();
        Path directory = report == null ? settings.output() : report;
        RunReport result = run(settings);
        ReportFiles.write(result, directory);
        Console console = root.console();
        console.out().print(json ? ReportJson.text(result) : QuantizeSummary.text(result, directory));
        console.out().flush();
        return OptGptq.DONE;
    }

    private RunReport run(QuantizeSettings settings) {
        try (JobProgress progress = root.console().progress(); Device opened = device.open()) {
            List<String> defaults = defaults();
            progress.log("quantizing " + model + " to " + settings.output() + " on " + opened.name());
            progress.log("defaults taken: " + String.join(" ", defaults));
            return QuantizeRun.run(settings, opened, new QuantizeRun.Origin("opt-gptq", Version.number(), defaults),
                    progress, progress::log);
        }
    }

    private QuantizeSettings settings() {
        if (!List.of(2, 3, 4, 8).contains(bits)) {
            throw new UserError(UserError.Code.BAD_SETTING, "--bits " + bits + ": 2, 3, 4 and 8 are possible");
        }
        if (samples < 1 || window < 2 || !(damp >= 0)) {
            throw new UserError(UserError.Code.BAD_SETTING,
                    "--samples must be at least 1, --window at least 2, --damp at least 0");
        }
        CheckpointFormat chosen = format != null ? format : symmetric ? CheckpointFormat.GPTQ : CheckpointFormat.GPTQ_V2;
        Path target = output != null ? output : defaultOutput();
        boolean evaluate = !"none".equals(eval);
        return new QuantizeSettings(model, target, calibrator, bits, groupSize, symmetric, clipSearch, actOrder, damp,
                trueSequential, calibration, sampling, samples, length(), seed, chosen,
                eval == null || !evaluate ? null : Path.of(eval), evaluate, window, overwrite);
    }

    private int length() {
        if (sequenceLength != null) {
            if (sequenceLength < 1) {
                throw new UserError(UserError.Code.BAD_SETTING, "--sequence-length must be at least 1");
            }
            return sequenceLength;
        }
        ModelConfig config = ModelConfig.read(model.resolve("config.json"));
        int limit = config.has("max_position_embeddings")
                ? config.positiveInt("max_position_embeddings")
                : config.has("max_seq_len") ? config.positiveInt("max_seq_len") : LONGEST_DEFAULT;
        return Math.min(limit, calibration == null ? BUNDLED_LENGTH : LONGEST_DEFAULT);
    }

    private Path defaultOutput() {
        Path absolute = model.toAbsolutePath().normalize();
        String name = absolute.getFileName() + "-" + calibrator.name().toLowerCase(Locale.ROOT) + "-w" + bits
                + (groupSize == -1 ? "" : "g" + groupSize) + (symmetric ? "" : "-asym");
        return absolute.resolveSibling(name);
    }

    private List<String> defaults() {
        return spec.options().stream().filter(option -> !option.usageHelp() && !option.versionHelp())
                .filter(option -> !spec.commandLine().getParseResult().hasMatchedOption(option))
                .map(OptionSpec::longestName).toList();
    }
}
