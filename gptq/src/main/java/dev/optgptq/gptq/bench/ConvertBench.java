package dev.optgptq.gptq.bench;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.calibrate.eval.FlopCount;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.ConvertReport;
import dev.optgptq.gptq.convert.ConvertRun;
import dev.optgptq.gptq.convert.ConvertSettings;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.gptq.tune.WeightStudent;
import dev.optgptq.kernels.Device;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Times convert-gqa's own job at a model's shape, on random weights and tokens in memory; its checkpoint goes to a temporary folder.
 *
 * @param layers of the shape that are measured, the first ones
 * @param ratio key-value heads that become one
 * @param samples calibration sequences
 */
public record ConvertBench(ModelShape shape, int layers, Device device, int ratio, int samples, int sequenceLength,
        Heal heal) {

    private static final String WARM_UP = "tiny";
    private static final int WARM_UP_LENGTH = 64;
    private static final double RATE = 1e-5;

    /**
     * Healing, of the projections of attention.
     *
     * @param steps 0 for none
     * @param batch sequences of a step
     * @param precision matmul dtype of the linears
     */
    public record Heal(int steps, int batch, int length, Precision precision) {}

    public ConvertBench {
        int most = shape.spec().maxPositions();
        if (sequenceLength > most || heal.length > most) {
            throw new UserError(Code.BAD_SETTING, "sequences of " + Math.max(sequenceLength, heal.length) + " tokens: "
                    + shape.name() + " was made for at most " + most + " positions");
        }
    }

    /** Throws UserError as convert-gqa does. */
    public ConvertBenchReport run(String tool, Progress progress, Consumer<String> log) {
        if (!shape.name().equals(WARM_UP)) {
            log.accept("warming up with a job of the shape " + WARM_UP
                    + ", which compiles kernels that are not cached yet");
            new ConvertBench(ModelShape.of(WARM_UP), 1, device, 2, 4, WARM_UP_LENGTH,
                    new Heal(Math.min(1, heal.steps), 2, WARM_UP_LENGTH, heal.precision))
                    .job(tool, Progress.SILENT, line -> {});
        }
        ConvertReport job = job(tool, progress, log);
        log.accept("measuring the device");
        long peak = device.peakMemory();
        BenchReport.Rates rates = new DeviceRates(device).measure(shape.spec().hiddenSize(), DType.BF16);
        List<ConvertReport.Phase> phases = job.phases().stream().filter(phase -> !phase.name().equals("heal")).toList();
        ModelShape measured = shape.first(layers);
        ConvertBenchReport.Extent extent = new ConvertBenchReport.Extent(layers, shape.spec().blocks(),
                shape.parameters() / measured.parameters());
        return new ConvertBenchReport(2, tool, shape.name(), device.name(), device.description(), ratio, samples,
                sequenceLength, extent, rates, phases,
                phases.stream().mapToDouble(ConvertReport.Phase::seconds).sum(), healing(job), peak);
    }

    private ConvertReport job(String tool, Progress progress, Consumer<String> log) {
        ModelShape measured = shape.first(layers);
        try (Arena arena = Arena.ofShared();
                ModelDirectory model = RandomModel.open(measured, arena);
                TemporaryFolder folder = TemporaryFolder.create()) {
            TokenSequences text = RandomModel.text(measured.spec(), samples, sequenceLength);
            // Enough that a tenth of it is held out and a step's sequences differ.
            TokenSequences healed = heal.steps == 0
                    ? null
                    : RandomModel.text(measured.spec(), 2 * heal.batch + 2, heal.length);
            return ConvertRun.measure(settings(model.path(), folder.path().resolve("checkpoint")), model, text, healed,
                    device, tool, progress, log);
        }
    }

    private ConvertSettings settings(Path model, Path output) {
        ConvertSettings.Heal healing = heal.steps == 0
                ? null
                : new ConvertSettings.Heal(heal.steps, null, WeightStudent.Scope.ATTENTION, RATE, 0, heal.batch,
                        heal.length, 0, heal.precision);
        return new ConvertSettings(model, output, new ConvertSettings.Heads.Ratio(ratio), Grouping.CONTIGUOUS,
                ConvertSettings.Positions.KEEP, ConvertSettings.Form.AUTO,
                new ConvertSettings.Calibration(Corpus.calibration(null), Sampling.SEQUENTIAL, samples, sequenceLength,
                        0),
                healing, null,
                false, false, Runtime.getRuntime().availableProcessors(), false);
    }

    private ConvertBenchReport.@Nullable Healing healing(ConvertReport job) {
        if (heal.steps == 0) {
            return null;
        }
        FlopCount count = new FlopCount(shape.first(layers).spec());
        double operations = count.gradients(1, heal.length, false) / heal.length + learned() + count.head();
        return new ConvertBenchReport.Healing(heal.steps, heal.batch, heal.length,
                Objects.requireNonNull(Objects.requireNonNull(job.healed()).tokensPerSecond()), operations);
    }

    /** The gradients of the projections of attention, per token. */
    private double learned() {
        return shape.first(layers).spec().blockSpecs().stream().flatMap(block -> block.linears().stream())
                .filter(linear -> !linear.site().ofMlp())
                .mapToDouble(linear -> 2.0 * linear.inputs() * linear.outputs()).sum();
    }
}
