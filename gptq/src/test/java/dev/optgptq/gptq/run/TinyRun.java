package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.gptq.settings.ModuleSettings;
import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.recipe.Recipe;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.checkpoint.BlockRecord;
import dev.optgptq.gptq.settings.CalibrationSettings;
import dev.optgptq.gptq.settings.EvaluationSettings;
import dev.optgptq.gptq.settings.GridSettings;
import dev.optgptq.gptq.run.checkpoint.OutputDtype;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.OutputSettings;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.Repeated;
import dev.optgptq.gptq.settings.SolvingSettings;
import dev.optgptq.gptq.settings.TargetSettings;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.testing.TinyTokenizer;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.concurrent.locks.LockSupport;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import org.jspecify.annotations.Nullable;

/** A run as the command line would start it, on little text; tests change the fields they are about. */
public final class TinyRun {

    static final Origin ORIGIN = new Origin("opt-gptq", "9.9.9", List.of());
    static final OutputDtype FLOAT16 = new OutputDtype("float16", null, null, null);

    Path output;
    public CalibratorKind calibrator = CalibratorKind.GPTQ;
    public int bits = 4;
    public int groupSize = 32;
    boolean symmetric = true;
    boolean positiveScales;
    public ActOrder actOrder = ActOrder.STATIC;
    public double damp = 0.01;
    boolean scaleSearch;
    boolean trueSequential;
    public int samples = 6;
    public int sequenceLength = 64;
    public Refinement refinement = Refinement.DEFAULT;
    Precision precision = Precision.AUTO;
    public @Nullable Integer expertsAtOnce;
    public CheckpointFormat format = CheckpointFormat.GPTQ;
    ModuleSettings modules = ModuleSettings.NONE;
    TargetSettings target = TargetSettings.NONE;
    public boolean evaluate;
    public boolean overwrite;
    public boolean fresh;
    int threads = 2;
    long shardBytes = CheckpointWriter.DEFAULT_SHARD_BYTES;
    Progress progress = Progress.SILENT;
    final List<String> log = new ArrayList<>();

    private final Path model;
    private final Path text;
    private final Path evaluation;

    /** @param folder of the texts and of the output, "folder/out" unless changed */
    public TinyRun(Path model, Path folder) {
        this.model = model;
        this.output = folder.resolve("out");
        this.text = folder.resolve("text.txt");
        this.evaluation = folder.resolve("evaluation.txt");
        try {
            Files.writeString(text, TinyTokenizer.text(7, 4000));
            Files.writeString(evaluation, TinyTokenizer.text(8, 400));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Grids of their own for some modules, as --override and --skip name them. */
    static ModuleSettings rules(List<String> overrides, List<String> skips) {
        return new ModuleSettings(new Repeated(overrides), new Repeated(skips), null, Recipe.of(overrides, skips),
                null);
    }

    public QuantizeSettings settings() {
        return new QuantizeSettings(model, new GridSettings(bits, groupSize, symmetric, positiveScales, format),
                modules, target,
                new SolvingSettings(calibrator, false, scaleSearch, actOrder, damp, trueSequential),
                new CalibrationSettings(Corpus.calibration(text), Sampling.RANDOM, samples, sequenceLength, 0,
                        precision, expertsAtOnce),
                refinement,
                new EvaluationSettings(evaluate,
                        Corpus.calibration(null).evaluation(evaluation), 64),
                new OutputSettings(output, overwrite, fresh),
                threads);
    }

    public RunReport run() {
        try (Device device = Devices.open("cpu", threads)) {
            return run(device);
        }
    }

    /** Runs it in place of an earlier run; what was written, by name. */
    SortedMap<String, Long> files() {
        overwrite = true;
        run();
        return Checksums.of(output);
    }

    /** The same for 1, 2 and 3 threads, which must agree. */
    SortedMap<String, Long> filesForAnyThreads() {
        threads = 1;
        SortedMap<String, Long> one = files();
        threads = 2;
        assertEquals(one, files(), "2 threads");
        threads = 3;
        assertEquals(one, files(), "3 threads");
        return one;
    }

    /** Waits until this block is on disk, which happens while the run continues. */
    void awaitBlock(int block) {
        Path note = output.resolveSibling("." + output.getFileName() + ".partial")
                .resolve(BlockRecord.name(block) + ".json");
        while (!Files.exists(note)) {
            LockSupport.parkNanos(1_000_000);
        }
    }

    /** Its progress must never fall, and end where it was said to. */
    void runWithRisingProgress() {
        long[] last = {0, 0};
        progress = (phase, done, total) -> {
            assertTrue(done >= last[0], phase + " fell from " + last[0] + " to " + done);
            last[0] = done;
            last[1] = total;
        };

        run();

        assertTrue(last[1] > 0 && last[1] - last[0] <= last[1] / 1_000_000,
                last[0] + " done in the end, of " + last[1]);
    }

    public RunReport run(Device device) {
        return run(device, ORIGIN);
    }

    public RunReport run(DeviceGroup devices) {
        return run(devices, ORIGIN);
    }

    /** As another rank than the first. */
    void follow(DeviceGroup devices) {
        QuantizeRun.follow(settings(), devices, ORIGIN, Progress.SILENT, line -> {});
    }

    /** On another device than the CPU at full speed. */
    RunReport runOn(String name) {
        try (Device device = Devices.open(name, threads)) {
            return run(device);
        }
    }

    /** By another program. */
    RunReport runAs(Origin origin) {
        try (Device device = Devices.open("cpu", threads)) {
            return run(device, origin);
        }
    }

    private RunReport run(Device device, Origin origin) {
        return run(DeviceGroup.of(device), origin);
    }

    private RunReport run(DeviceGroup devices, Origin origin) {
        return QuantizeRun.run(settings(), devices, origin, progress, log::add, shardBytes);
    }

    @Override
    public String toString() {
        return settings() + ", threads " + threads;
    }
}
