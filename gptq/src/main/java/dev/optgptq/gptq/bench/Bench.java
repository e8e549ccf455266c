package dev.optgptq.gptq.bench;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.bench.BenchReport.Entry;
import dev.optgptq.gptq.bench.BenchReport.Rates;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.QuantizeRun;
import dev.optgptq.gptq.settings.GivenSettings;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.OutputSettings;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.SettingSpec;
import dev.optgptq.gptq.settings.SettingsTable;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Measures a device at a model's shape: its rates, each op, and the whole job with 4 bits and groups of 128. The job is
 * quantize's own, on random weights and tokens in memory; its checkpoint goes to a temporary folder.
 *
 * @param devices that share the job; ops are timed on the first
 * @param calibrator as in quantize
 * @param precision as in quantize
 * @param samples calibration sequences
 */
public record Bench(ModelShape shape, DeviceGroup devices, CalibratorKind calibrator, Precision precision, int samples,
        int sequenceLength) {

    private static final int BITS = 4;
    private static final int GROUP_SIZE = 128;
    /** Tokens in an op that is timed, about as many as in a run on a large GPU. */
    private static final int OP_TOKENS = 8192;
    /** A warm-up job that compiles all kernels, so that no measured phase waits for a compiler. */
    private static final String WARM_UP = "tiny";
    private static final int WARM_UP_LENGTH = 64;
    /** On each device. */
    private static final int WARM_UP_SAMPLES = 2;

    public Bench {
        if (sequenceLength > shape.spec().maxPositions()) {
            throw new UserError(Code.BAD_SETTING, "--sequence-length " + sequenceLength + ": " + shape.name()
                    + " was made for at most " + shape.spec().maxPositions() + " positions");
        }
    }

    /** Throws UserError as quantize does. */
    public BenchReport run(Origin origin, Progress listener, Consumer<String> log) {
        if (!shape.name().equals(WARM_UP)) {
            warmUp(origin, log);
        }
        try (Arena arena = Arena.ofShared(); ModelDirectory model = RandomModel.open(shape, arena)) {
            RunReport job = job(model, origin, listener, log);
            DType products = DType.valueOf(job.machine().products());
            DType half = products == DType.F32 ? DType.BF16 : products;
            Device device = devices.first();
            log.accept("measuring the device");
            Rates rates = new DeviceRates(device).measure(shape.spec().hiddenSize(), half);
            int rows = sequenceLength * Math.clamp(OP_TOKENS / sequenceLength, 1, samples);
            log.accept("measuring each op");
            List<Entry> ops = new OpTimes(device, shape.spec(), products, rows, rates).measure(sequenceLength);
            return new BenchReport(1, job.tool(), shape.name(), devices.name(), devices.description(),
                    calibrator.toString(), products.name(), samples, sequenceLength, rows, rates, ops,
                    phases(job, model, products, rates), job.seconds(),
                    job.memory());
        }
    }

    private void warmUp(Origin origin, Consumer<String> log) {
        log.accept(
                "warming up with a job of the shape " + WARM_UP + ", which compiles kernels that are not cached yet");
        Bench small = new Bench(ModelShape.of(WARM_UP), devices, calibrator, precision,
                WARM_UP_SAMPLES * devices.size(),
                WARM_UP_LENGTH);
        try (Arena arena = Arena.ofShared(); ModelDirectory model = RandomModel.open(small.shape, arena)) {
            small.job(model, origin, Progress.SILENT, line -> {});
        }
    }

    private RunReport job(ModelDirectory model, Origin origin, Progress listener, Consumer<String> log) {
        TokenSequences text = RandomModel.text(shape.spec(), samples, sequenceLength);
        try (TemporaryFolder folder = TemporaryFolder.create()) {
            return QuantizeRun.measure(settings(model.path(), folder.path().resolve("checkpoint")), model, text,
                    devices, origin, listener, log);
        }
    }

    private QuantizeSettings settings(Path model, Path output) {
        Map<SettingSpec<?>, Object> given = Map.of(SettingsTable.CALIBRATOR, calibrator,
                SettingsTable.BITS, BITS, SettingsTable.GROUP_SIZE, GROUP_SIZE, SettingsTable.SAMPLING,
                Sampling.SEQUENTIAL, SettingsTable.SAMPLES, samples, SettingsTable.SEQUENCE_LENGTH, sequenceLength,
                SettingsTable.PRECISION, precision, SettingsTable.EVAL, Path.of("none"));
        return QuantizeSettings.of(model, new GivenSettings(given, shape.spec().maxPositions()),
                new OutputSettings(output, false, false), Runtime.getRuntime().availableProcessors());
    }

    private List<Entry> phases(RunReport job, ModelDirectory model, DType products, Rates rates) {
        Limits limits = new Limits(devices.first(), rates);
        double weights = model.tensors().values().stream().mapToLong(view -> view.data().byteSize()).sum();
        return job.phases().stream().map(phase -> {
            // Where blocks are prefetched, loading is only the time spent waiting, which has no limit.
            boolean loads = phase.name().equals("load") && devices.first().uploads().isEmpty();
            double arithmetic = limits.arithmetic(phase.flops(), phase.name().equals("solve") ? DType.F32 : products);
            return new Entry(phase.name(), "", phase.seconds(), phase.flops(), loads ? weights : 0,
                    loads ? weights / rates.upload() : arithmetic);
        }).toList();
    }
}
