package dev.optgptq.gptq.settings;

import java.util.stream.Stream;
import static dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind.GPTQ;
import static dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind.GRADIENT;
import static dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind.RTN;
import static dev.optgptq.gptq.settings.SettingGroup.CALIBRATION;
import static dev.optgptq.gptq.settings.SettingGroup.EVALUATION;
import static dev.optgptq.gptq.settings.SettingGroup.QUANTIZATION;

import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.serving.TargetName;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.function.Predicate;

/**
 * Every setting of quantize, in the order of the help. A new one needs a row here, a component of its group's record,
 * and its place in {@link QuantizeSettings#of}.
 */
public final class SettingsTable {

    static final String NONE = "none";
    /** The bundled text has about 100,000 tokens; 128 sequences of 512 fit. */
    private static final int BUNDLED_LENGTH = 512;
    private static final int LENGTH = 2048;
    /** Default sweeps of coordinate descent in gradient calibration. */
    private static final int SWEEPS = 2;
    /** Inputs per scale. */
    private static final int GROUP = 128;

    public static final SettingSpec<CalibratorKind> CALIBRATOR = SettingSpec
            .of(QUANTIZATION, "--calibrator", "NAME", CalibratorKind.class)
            .help("gradient: gptq plus scale search, token weights from the loss's gradient, and error propagation, each "
                    + "kept in a block only where it lowers the error on held-out text; three to four times as long as gptq. "
                    + "gptq: minimizes each layer's output error over calibration text, as published. rtn: round to nearest; "
                    + "seconds, no text, less accurate.")
            .byDefault(GRADIENT)
            .decidesBits()
            .value(run -> run.solving().calibrator());

    public static final SettingSpec<Integer> BITS = SettingSpec.of(QUANTIZATION, "--bits", "N", Integer.class)
            .help("Bits per code: 2, 3, 4 or 8. 4 is the usual choice; 3 and 2 cost quality and load in fewer runtimes.")
            .byDefault("4, or 8 with --format w8a8 and slimquant", given -> roundsActivations(given) ? 8 : 4)
            .oneOf(PackedGrid.BITS)
            .where(run -> run.modules().budget() == null)
            .decidesBits()
            .value(run -> run.grid().bits());

    public static final SettingSpec<Integer> GROUP_SIZE = SettingSpec
            .of(QUANTIZATION, "--group-size", "N", Integer.class)
            .help("Inputs that share a scale: 32, 64, 128, any divisor of the layers' inputs, or -1 for all. Smaller "
                    + "groups are more accurate and larger on disk: 128 adds 0.16 bits per weight, 32 adds 0.63.")
            .byDefault("128, or -1 with --format w8a8 and slimquant",
                    given -> roundsActivations(given) ? QuantizationConfig.ONE_GROUP : GROUP)
            .allows("a divisor of the layers' inputs such as 128, or -1 for all inputs", size -> size == -1 || size > 0)
            .decidesBits()
            .value(run -> run.grid().groupSize());

    public static final SettingSpec<Boolean> SYMMETRIC = SettingSpec.negatable(QUANTIZATION, "--symmetric")
            .help("Grid centred on zero, which every runtime supports. --no-symmetric fits a zero point to each group: a "
                    + "little more accurate, written as gptq_v2 unless --format says otherwise.")
            .byDefault("--symmetric, or --no-symmetric with --format awq",
                    given -> !wantsFormat(given, CheckpointFormat.AWQ))
            .decidesBits()
            .value(run -> run.grid().symmetric());

    public static final SettingSpec<Boolean> POSITIVE_SCALES = SettingSpec.flag(QUANTIZATION, "--positive-scales")
            .help("Allow no negative scales, which one kernel multiplies wrongly (vLLM's Marlin with int8 "
                    + "activations, off by default) and ONNX forbids. Costs some of the gain of scale search.")
            .decidesBits()
            .value(run -> run.grid().positiveScales());

    public static final SettingSpec<Boolean> CLIP_SEARCH = SettingSpec.flag(QUANTIZATION, "--clip-search")
            .help("Search each group's clipping range for the least error instead of covering every weight. Helps at 2 and "
                    + "3 bits; solving takes longer.")
            .readBy(RTN, GPTQ)
            .decidesBits()
            .value(run -> run.solving().clipSearch());

    public static final SettingSpec<Boolean> SCALE_SEARCH = SettingSpec.flag(QUANTIZATION, "--scale-search")
            .help("Search each group's scale before solving, sign included, weighted by input activity. Recovers about "
                    + "half of gptq's loss in a few seconds; gradient always does it.")
            .readBy(GPTQ)
            .decidesBits()
            .value(run -> run.solving().scaleSearch());

    /** A lower error of a layer helps more reliably if a block keeps it only when its output improves. */
    public static final SettingSpec<Boolean> REFIT_SCALES = SettingSpec.negatable(QUANTIZATION, "--refit-scales")
            .help("Refit the scales to the codes after solving: in every layer with gptq, in the blocks where it helps "
                    + "with gradient.")
            .byDefault("--refit-scales for gradient, --no-refit-scales for gptq",
                    given -> given.get(CALIBRATOR) == GRADIENT)
            .readBy(GPTQ, GRADIENT)
            .decidesBits()
            .value(run -> run.refinement().refitScales());

    public static final SettingSpec<Integer> COORDINATE_DESCENT = SettingSpec
            .of(QUANTIZATION, "--coordinate-descent", "SWEEPS", Integer.class)
            .help("Sweeps of coordinate descent after solving: each code is set to its optimum with all others fixed. 1 to "
                    + "4 are usual, each as long as solving.")
            .byDefault("2 for gradient, 0 for gptq", given -> given.get(CALIBRATOR) == GRADIENT ? SWEEPS : 0)
            .allows("at least 0", atLeast(0))
            .readBy(GPTQ, GRADIENT)
            .decidesBits()
            .value(run -> run.refinement().descentSweeps());

    /** The gains of scale search and activation order do not add up: docs/results/gradient.md. */
    public static final SettingSpec<ActOrder> ACT_ORDER = SettingSpec
            .of(QUANTIZATION, "--act-order", "ORDER", ActOrder.class)
            .help("Order in which inputs are quantized. none: as stored. static: most active first, groups of neighbours; "
                    + "no cost at inference. group: groups in that order too (desc_act); most accurate, slower kernels at "
                    + "inference.")
            .byDefault("none for gradient, static for gptq",
                    given -> given.get(CALIBRATOR) == GRADIENT ? ActOrder.NONE : ActOrder.STATIC)
            .readBy(GPTQ, GRADIENT)
            .decidesBits()
            .value(run -> run.solving().actOrder());

    public static final SettingSpec<Double> DAMP = SettingSpec.of(QUANTIZATION, "--damp", "X", Double.class)
            .help("Share of the Hessian's mean diagonal that is added to it; raised automatically where a layer needs more.")
            .byDefault(0.01)
            .allows("a share from 0 up to, not including, 1, such as 0.01", damp -> damp >= 0 && damp < 1)
            .readBy(GPTQ, GRADIENT)
            .decidesBits()
            .value(run -> run.solving().damp());

    public static final SettingSpec<Boolean> TRUE_SEQUENTIAL = SettingSpec.flag(QUANTIZATION, "--true-sequential")
            .help("Recompute activations after each quantized part of a block instead of once per block. Up to four times the "
                    + "forward passes.")
            .readBy(GPTQ)
            .decidesBits()
            .value(run -> run.solving().trueSequential());

    public static final SettingSpec<CheckpointFormat> FORMAT = SettingSpec
            .of(QUANTIZATION, "--format", "NAME", CheckpointFormat.class)
            .help("gptq: read by everything, symmetric only. gptq_v2: zero points stored as they are. compressed-tensors: "
                    + "pack-quantized, symmetric or not, as vLLM reads it. awq: 4 bits with zero points, gemm layout. w8a8: "
                    + "compressed-tensors with 8-bit weights and, in the runtime, 8-bit activations. mlx: affine, symmetric, groups "
                    + "of 32, 64 or 128, as mlx-lm reads it. slimquant: experts in 4 bits, other linears as in w8a8, for "
                    + "mixtures of experts on DCU.")
            .byDefault("gptq, or gptq_v2 with --no-symmetric",
                    given -> given.get(SYMMETRIC) ? CheckpointFormat.GPTQ : CheckpointFormat.GPTQ_V2)
            .decidesBits()
            .value(run -> run.grid().format());

    public static final SettingSpec<TargetName> TARGET = SettingSpec
            .of(QUANTIZATION, "--target", "NAME", TargetName.class)
            .help("Check the settings against what a runtime loads before anything is computed, and say which kernel will run: "
                    + "vllm, vllm-rocm, dcu, transformers, llama.cpp (after export gguf) or mlx.")
            .byDefault("none", given -> null)
            .where(run -> run.target().runtime() != null)
            .value(run -> Objects.<Object>requireNonNullElse(run.target().runtime(), NONE));

    public static final SettingSpec<Integer> TENSOR_PARALLEL = SettingSpec
            .of(QUANTIZATION, "--tensor-parallel", "N", Integer.class)
            .help("Ranks over which the target splits each layer.")
            .byDefault(1)
            .allows("at least 1", atLeast(1))
            .where(run -> run.target().runtime() != null)
            .value(run -> run.target().ranks());

    public static final SettingSpec<Sampling> SAMPLING = SettingSpec
            .of(CALIBRATION, "--sampling", "HOW", Sampling.class)
            .help("random: sequences from random places, by --seed. sequential: the first ones.")
            .byDefault(Sampling.RANDOM)
            .readBy(GPTQ, GRADIENT)
            .value(run -> run.calibration().sampling());

    public static final SettingSpec<Integer> SAMPLES = SettingSpec.of(CALIBRATION, "--samples", "N", Integer.class)
            .help("Calibration sequences. Time and activation memory grow with them.")
            .byDefault(128)
            .allows("at least 1", atLeast(1))
            .readBy(GPTQ, GRADIENT)
            .value(run -> run.calibration().samples());

    public static final SettingSpec<Integer> SEQUENCE_LENGTH = SettingSpec
            .of(CALIBRATION, "--sequence-length", "N", Integer.class)
            .help("Tokens in each.")
            .byDefault("2048, or the model's maximum if shorter; 512 with the bundled text",
                    given -> Math.min(given.has(TextOptions.TEXT) ? LENGTH : BUNDLED_LENGTH, given.maxPositions()))
            .allows("at least 2", atLeast(2))
            .readBy(GPTQ, GRADIENT)
            .value(run -> run.calibration().sequenceLength());

    /** Beyond the sampling, gradient calibration draws labels and the order of learning from it. */
    public static final SettingSpec<Long> SEED = SettingSpec.of(CALIBRATION, "--seed", "N", Long.class)
            .help("Seed of random sampling, of sampled labels and of tuning.")
            .byDefault(0L)
            .readBy(GPTQ, GRADIENT)
            .decidesBitsWhere(run -> run.solving().calibrator() == GRADIENT)
            .value(run -> run.calibration().seed());

    public static final SettingSpec<Precision> PRECISION = SettingSpec
            .of(CALIBRATION, "--precision", "NAME", Precision.class)
            .help("Matmul dtype during calibration; sums, solving and evaluation are in float32. half: fp16 or "
                    + "bf16, as the model is stored, on a GPU's matrix units; bf16 on a CPU with AVX-512 BF16 or AMX. "
                    + "auto: half if the model is stored so and a GPU is fast with it, float32 on CPUs.")
            .byDefault(Precision.AUTO)
            .readBy(GPTQ)
            .value(run -> run.calibration().precision());

    public static final SettingSpec<Integer> EXPERTS_AT_ONCE = SettingSpec
            .of(CALIBRATION, "--experts-at-once", "N", Integer.class)
            .help("Of a mixture of experts, how many have their Hessians in memory at once; the calibration passes a block "
                    + "again for the others, and the result is the same. Weights of experts are in memory one at a time.")
            .byDefault("as many as fit in a quarter of the free memory", given -> null)
            .allows("at least 1", atLeast(1))
            .readBy(GPTQ, GRADIENT)
            .where(run -> run.calibration().expertsAtOnce() != null && !run.solving().trueSequential())
            .value(run -> Objects.<Object>requireNonNullElse(run.calibration().expertsAtOnce(), NONE));

    public static final SettingSpec<Path> EVAL = SettingSpec.of(EVALUATION, "--eval", "FILE", Path.class)
            .help("Text for comparing the quantized model with the original (KL divergence, top-1 agreement, perplexity); "
                    + "none to skip.")
            .byDefault("held-out WikiText-2, bundled", given -> null)
            .value(run -> !run.evaluation().wanted()
                    ? NONE
                    : run.evaluation().text());

    public static final SettingSpec<Integer> WINDOW = SettingSpec
            .of(EVALUATION, "--window", "N", Integer.class)
            .help("Tokens per evaluation window.")
            .byDefault("1024, or the model's maximum if shorter", given -> Windows.of(null, given.maxPositions()))
            .allows("at least 2", atLeast(2))
            .where(run -> run.evaluation().wanted())
            .value(run -> run.evaluation().window());

    private static final List<SettingSpec<?>> BASE = List.of(CALIBRATOR, BITS, GROUP_SIZE, SYMMETRIC,
            POSITIVE_SCALES, CLIP_SEARCH,
            SCALE_SEARCH, REFIT_SCALES, COORDINATE_DESCENT, ACT_ORDER, DAMP, TRUE_SEQUENTIAL, FORMAT, TARGET,
            TENSOR_PARALLEL, GradientOptions.TUNE, GradientOptions.TUNE_NORMS,
            GradientOptions.WEIGH_TOKENS, GradientOptions.FISHER, GradientOptions.PROPAGATE_ERROR, TextOptions.TEXT,
            TextOptions.FIELD, TextOptions.BOS,
            TextOptions.PACK, SAMPLING, SAMPLES, SEQUENCE_LENGTH, SEED, PRECISION,
            EXPERTS_AT_ONCE, EVAL, WINDOW);
    private static final List<SettingSpec<?>> ALL = Stream.concat(BASE.stream(), ModuleOptions.ALL.stream()).toList();

    private SettingsTable() {}

    /** Asked by defaults of other settings: the format's own default follows from one of them. */
    private static boolean wantsFormat(GivenSettings given, CheckpointFormat format) {
        return given.has(FORMAT) && given.get(FORMAT) == format;
    }

    /** Formats with one scale for each output, whose runtime multiplies by 8-bit activations. */
    private static boolean roundsActivations(GivenSettings given) {
        return given.has(FORMAT) && given.get(FORMAT).roundsActivations();
    }

    public static List<SettingSpec<?>> all() {
        return ALL;
    }

    /** The settings that a run reads, by option. */
    public static SequencedMap<String, String> values(QuantizeSettings settings) {
        return values(settings, setting -> setting.isRead(settings));
    }

    /**
     * The settings that decide the bits of the checkpoint, by option. The settings that choose the calibration text
     * count through its tokens, the precision through the matmul dtype.
     */
    public static SequencedMap<String, String> deciding(QuantizeSettings settings) {
        return values(settings, setting -> setting.decidesBits(settings));
    }

    private static SequencedMap<String, String> values(QuantizeSettings settings, Predicate<SettingSpec<?>> wanted) {
        SequencedMap<String, String> values = new LinkedHashMap<>();
        ALL.stream().filter(wanted).forEach(setting -> values.put(setting.option(), setting.value(settings)));
        return values;
    }

    /** Whether to evaluate the model; not with "none" in place of a file. */
    public static boolean evaluates(GivenSettings given) {
        Path text = given.find(EVAL);
        return text == null || !text.toString().equals(NONE);
    }

    /** Whether rules give some modules settings of their own. */
    public static boolean hasRules(GivenSettings given) {
        return Stream.of(ModuleOptions.OVERRIDE, ModuleOptions.SKIP, ModuleOptions.RECIPE).anyMatch(given::has);
    }

    /** "4" bits, or what they are chosen within: "3.5", "4.2GB". */
    public static String width(GivenSettings given) {
        Double average = given.find(ModuleOptions.AVERAGE_BITS);
        String size = given.find(ModuleOptions.TARGET_SIZE);
        return average != null ? average.toString() : size != null ? size : given.get(BITS).toString();
    }

    private static Predicate<Integer> atLeast(int least) {
        return value -> value >= least;
    }
}
