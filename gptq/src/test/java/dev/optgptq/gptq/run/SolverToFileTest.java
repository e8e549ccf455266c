package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.capture.HessianAccumulator;
import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.files.OutputDirectory;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.journal.Journal;
import dev.optgptq.gptq.journal.WriteBehind;
import dev.optgptq.gptq.refine.SolvedLinear;
import dev.optgptq.gptq.report.LayerReports;
import dev.optgptq.gptq.run.checkpoint.BlockRecord;
import dev.optgptq.gptq.run.checkpoint.BlockRecorder;
import dev.optgptq.gptq.run.checkpoint.CheckpointOutput;
import dev.optgptq.gptq.run.checkpoint.CheckpointPlan;
import dev.optgptq.gptq.run.checkpoint.LinearPacker;
import dev.optgptq.gptq.run.checkpoint.OutputConfig;
import dev.optgptq.gptq.run.checkpoint.TunedParameters;
import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.gptq.run.progress.PhaseClock;
import dev.optgptq.gptq.run.progress.RunProgress;
import dev.optgptq.gptq.run.progress.WorkCount;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.gptq.solve.SolveSettings;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.TinyTokenizer;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Rule 6: the solver's integers are what is on disk. */
class SolverToFileTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"2, STATIC", "3, GROUP", "4, NONE", "8, GROUP"})
    void what_another_reader_decodes_is_what_the_solver_chose(int bits, ActOrder actOrder) {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.bits = bits;
        run.actOrder = actOrder;

        Map<String, float[]> solved = quantize(run, Long.MAX_VALUE);

        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        assertEquals(written.modules().length, solved.size());
        solved.forEach((module, weight) -> assertArrayEquals(weight, written.dequantized(module), 0, module));
    }

    @Test
    void a_residual_stream_in_a_file_gives_the_weights_of_one_in_memory() {
        TinyRun run = new TinyRun(TinyModel.MPT.write(folder.resolve("model")), folder);
        Map<String, float[]> inMemory = quantize(run, Long.MAX_VALUE);
        run.output = folder.resolve("spilled");

        Map<String, float[]> spilled = quantize(run, 0);

        assertEquals(inMemory.keySet(), spilled.keySet());
        inMemory.forEach((module, weight) -> assertArrayEquals(weight, spilled.get(module), 0, module));
    }

    /**
     * Quantizes as a run does, and gives each linear's weight [out, in] as computed from the integers and scales on the
     * device.
     */
    private static Map<String, float[]> quantize(TinyRun run, long memoryLimit) {
        Map<String, float[]> weights = new TreeMap<>();
        try (Device device = Devices.open("cpu", 2);
                ModelDirectory source = ModelDirectory.open(run.settings().model())) {
            Transformer model = Transformer.open(source, device);
            CheckpointPlan plan = CheckpointPlan.of(source, model.spec(),
                    run.settings().grids(model.spec()).grids(), run.format);
            OutputConfig config = new OutputConfig(run.settings(), source, plan);
            LinearPacker packer = new LinearPacker(config.quantization(), device);
            int[] ids = TinyTokenizer.text(3, 512).chars().toArray();
            try (OutputDirectory directory = CheckpointWriter.directory(run.output, false);
                    CheckpointWriter writer = new CheckpointWriter(directory, plan.specs(), Long.MAX_VALUE);
                    CalibrationStream stream = CalibrationStream.embed(Replicas.of(model),
                            new TokenSequences(ids, 8, 64),
                            Partition.of(512, 0, 512, 1, 1),
                            new ActivationStore(512, model.spec().hiddenSize(), memoryLimit));
                    WriteBehind behind = new WriteBehind(run.output, 1 << 20)) {
                CheckpointOutput output = new CheckpointOutput(writer, plan, TunedParameters.NONE, 2);
                Journal journal = new Journal(directory, run.log::add);
                Calibrator gptq = new Calibrator.Gptq(new SolveSettings(new Grid(run.bits, true, false, DType.F16),
                        run.groupSize, run.actOrder, run.damp), false);
                RunProgress progress = new RunProgress(new PhaseClock(device, "test"),
                        new WorkCount(model.spec(), run.settings().grids(model.spec()).grids(), false),
                        run.progress, 1);
                BlockQuantizer quantizer = new BlockQuantizer(Replicas.of(model), gptq,
                        run.settings().grids(model.spec()).grids(), false, ExpertPasses.ALL, progress);
                for (int block = 0; block < TinyModel.BLOCKS; block++) {
                    try (BlockRecorder recorder = new BlockRecorder(block,
                            journal.begin(BlockRecord.name(block), plan.packed(model.spec().linears(block))), packer,
                            Device::downloads,
                            new LayerReports(run.damp, run.log::add), behind, output::write)) {
                        solve(quantizer, device, block, stream, solved -> {
                            recorder.write(solved);
                            weights.put(solved.linear().module(), values(device, solved.solution().weight()));
                        });
                        recorder.finish(List.of());
                    }
                }
                behind.await();
                output.writeKept();
                config.write(writer, TinyRun.ORIGIN, TinyRun.FLOAT16);
                writer.finish();
            }
        }
        return weights;
    }

    /** As BlockQuantizer.quantize does it. */
    private static void solve(BlockQuantizer quantizer, Device device, int block, CalibrationStream stream,
            Consumer<SolvedLinear> each) {
        try (Replicas.Block weights = quantizer.load(block)) {
            for (Set<InputSite> sites : quantizer.inputs().passes(weights.first().spec())) {
                try (HessianAccumulator hessians = quantizer.inputs().capture(weights, stream, sites, null)) {
                    for (InputSite site : sites) {
                        try (SiteSolver solver = quantizer.solver(weights.first(), site, hessians);
                                TensorArena arena = device.arena()) {
                            for (LinearSpec linear : weights.first().linears(site)) {
                                each.accept(quantizer.solve(weights.first(), linear, solver, null, arena));
                            }
                        }
                    }
                }
            }
            quantizer.inputs().advance(weights, stream);
        }
    }

    private static float[] values(Device device, QuantizedWeight weight) {
        int inputs = (int) weight.codes().rows();
        int outputs = (int) weight.codes().columns();
        float[] values = new float[outputs * inputs];
        try (Arena host = Arena.ofConfined()) {
            MemorySegment codes = download(device, host, weight.codes());
            MemorySegment scales = download(device, host, weight.scales());
            MemorySegment zeros = download(device, host, weight.zeros());
            MemorySegment groupOf = download(device, host, weight.groupOf());
            for (int i = 0; i < inputs; i++) {
                for (int o = 0; o < outputs; o++) {
                    long grid = (long) groupOf.getAtIndex(ValueLayout.JAVA_INT, i) * outputs + o;
                    int code = codes.get(ValueLayout.JAVA_BYTE, (long) i * outputs + o) & 0xff;
                    values[o * inputs + i] = scales.getAtIndex(ValueLayout.JAVA_FLOAT, grid)
                            * (code - zeros.getAtIndex(ValueLayout.JAVA_INT, grid));
                }
            }
        }
        return values;
    }

    private static MemorySegment download(Device device, Arena host, Tensor tensor) {
        MemorySegment bytes = host.allocate(tensor.elements() * tensor.dtype().bytes(), Double.BYTES);
        device.download(tensor, bytes);
        return bytes;
    }
}
