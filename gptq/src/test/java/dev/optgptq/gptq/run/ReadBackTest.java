package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.files.OutputDirectory;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.journal.Journal;
import dev.optgptq.gptq.journal.PartWriter;
import dev.optgptq.gptq.journal.WriteBehind;
import dev.optgptq.gptq.refine.StepOutcome;
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
import dev.optgptq.gptq.solve.SolveSettings;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Downloads;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.ops.Grid;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What was written is read back and compared before a run succeeds. */
class ReadBackTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;
    @SuppressWarnings("NullAway.Init") // set before each test
    private TinyRun run;

    @BeforeEach
    void aModel() {
        run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
    }

    @ParameterizedTest
    @ValueSource(strings = {"model.layers.1.mlp.up_proj.qweight", "model.layers.0.self_attn.q_proj.scales",
            "model.layers.1.self_attn.o_proj.g_idx", "model.layers.0.mlp.down_proj.qzeros", "lm_head.weight",
            "model.norm.weight"})
    void a_byte_that_changed_on_its_way_to_the_disk_is_found(String tensor) {
        try (Device device = Devices.open("cpu", 2);
                ModelDirectory source = ModelDirectory.open(folder.resolve(
                        "model"))) {
            Transformer model = Transformer.open(source, device);
            CheckpointPlan plan = CheckpointPlan.of(source, model.spec(),
                    run.settings().grids(model.spec()).grids(), run.format);
            OutputConfig config = new OutputConfig(run.settings(), source, plan);
            try (OutputDirectory directory = CheckpointWriter.directory(run.output, false);
                    CheckpointWriter writer = new CheckpointWriter(directory, plan.specs(), Long.MAX_VALUE)) {
                CheckpointOutput output = new CheckpointOutput(writer, plan, TunedParameters.NONE, 2);
                Journal journal = new Journal(directory, run.log::add);
                quantize(model, plan, journal, new LinearPacker(config.quantization(), device)).forEach(output::write);
                output.writeKept();
                config.write(writer, TinyRun.ORIGIN, TinyRun.FLOAT16);
                writer.finishTensors();
                verify(output, writer.workDirectory());
                flipLowestBit(writer.workDirectory().resolve("model.safetensors"), tensor);

                String module = tensor.replaceAll("\\.(qweight|qzeros|scales|g_idx)$", "");
                UserError error = assertThrows(UserError.class, () -> verify(output, writer.workDirectory()));
                assertTrue(String.valueOf(error.getMessage()).contains(module), error.getMessage());
            }
        }
    }

    /** The run need not go on for the rest of the blocks. */
    @Test
    void a_block_that_is_not_the_solvers_is_found_as_soon_as_it_is_written() {
        String tensor = "model.layers.1.mlp.up_proj.qweight";
        try (Device device = Devices.open("cpu", 2);
                ModelDirectory source = ModelDirectory.open(folder.resolve("model"))) {
            Transformer model = Transformer.open(source, device);
            CheckpointPlan plan = CheckpointPlan.of(source, model.spec(),
                    run.settings().grids(model.spec()).grids(), run.format);
            OutputConfig config = new OutputConfig(run.settings(), source, plan);
            try (OutputDirectory directory = CheckpointWriter.directory(run.output, false);
                    CheckpointWriter writer = new CheckpointWriter(directory, plan.specs(), Long.MAX_VALUE)) {
                CheckpointOutput output = new CheckpointOutput(writer, plan, TunedParameters.NONE, 2);
                Journal journal = new Journal(directory, run.log::add);
                List<BlockRecord> records = quantize(model, plan, journal,
                        new LinearPacker(config.quantization(), device));
                flipLowestBit(records.get(1).part().tensors(), tensor);

                output.write(records.get(0));
                UserError error = assertThrows(UserError.class, () -> output.write(records.get(1)));
                assertTrue(String.valueOf(error.getMessage()).contains("model.layers.1.mlp.up_proj"),
                        error.getMessage());
            }
        }
    }

    /** A step that tunes more than linears changes tensors of the source. */
    @Test
    void another_tensor_of_a_block_stands_for_the_sources_and_is_compared_too() {
        String name = "model.layers.1.input_layernorm.weight";
        try (Device device = Devices.open("cpu", 2);
                ModelDirectory source = ModelDirectory.open(folder.resolve("model"))) {
            Transformer model = Transformer.open(source, device);
            CheckpointPlan plan = CheckpointPlan.of(source, model.spec(),
                    run.settings().grids(model.spec()).grids(), run.format);
            OutputConfig config = new OutputConfig(run.settings(), source, plan);
            try (OutputDirectory directory = CheckpointWriter.directory(run.output, false);
                    CheckpointWriter writer = new CheckpointWriter(directory, plan.specs(), Long.MAX_VALUE)) {
                CheckpointOutput output = new CheckpointOutput(writer, plan, TunedParameters.NONE, 2);
                Journal journal = new Journal(directory, run.log::add);
                quantize(model, plan, journal, new LinearPacker(config.quantization(), device)).forEach(output::write);
                output.write(tuned(journal, source.tensor(name)));
                output.writeKept();
                config.write(writer, TinyRun.ORIGIN, TinyRun.FLOAT16);
                assertReplacedAndCompared(name, output, writer);
            }
        }
    }

    /** The final norm belongs to no block; it is left to what is learned over the whole model, and compared with that. */
    @ParameterizedTest
    @ValueSource(strings = {"model.norm.weight", "model.layers.0.post_attention_layernorm.weight"})
    void a_norm_that_was_learned_over_the_whole_model_is_compared_too(String name) {
        try (Device device = Devices.open("cpu", 2);
                ModelDirectory source = ModelDirectory.open(folder.resolve("model"))) {
            Transformer model = Transformer.open(source, device);
            CheckpointPlan plan = CheckpointPlan.of(source, model.spec(),
                    run.settings().grids(model.spec()).grids(), run.format);
            OutputConfig config = new OutputConfig(run.settings(), source, plan);
            try (OutputDirectory directory = CheckpointWriter.directory(run.output, false);
                    CheckpointWriter writer = new CheckpointWriter(directory, plan.specs(), Long.MAX_VALUE)) {
                CheckpointOutput output = new CheckpointOutput(writer, plan, name::equals, 2);
                Journal journal = new Journal(directory, run.log::add);
                output.writeOutside();
                quantize(model, plan, journal, new LinearPacker(config.quantization(), device)).forEach(output::write);
                output.write(learned(device, journal, source.tensor(name)));
                output.writeKept();
                config.write(writer, TinyRun.ORIGIN, TinyRun.FLOAT16);
                assertReplacedAndCompared(name, output, writer);
            }
        }
    }

    /** The tensor is there with bytes of 1, and one bit of it is missed. */
    private static void assertReplacedAndCompared(String name, CheckpointOutput output, CheckpointWriter writer) {
        writer.finishTensors();
        verify(output, writer.workDirectory());
        assertEquals(1, WrittenCheckpoint.read(writer.workDirectory()).tensor(name).data()[0]);
        flipLowestBit(writer.workDirectory().resolve("model.safetensors"), name);

        UserError error = assertThrows(UserError.class, () -> verify(output, writer.workDirectory()));
        assertTrue(String.valueOf(error.getMessage()).contains(name), error.getMessage());
    }

    /** One norm, all bytes 1. */
    private static TunedParameters learned(Device device, Journal journal, TensorView view) {
        TensorSpec spec = new TensorSpec(view.name(), view.dtype(), view.shape());
        return TunedParameters.record(journal, List.of(spec), module -> {
            throw new AssertionError("no linear was learned");
        }, sink -> {
            sink.norm(view.name(), MemorySegment.ofArray(new byte[(int) spec.bytes()]).fill((byte) 1));
            return new StepOutcome("tuned scales and norms", -1, 1, 0.5, true, 1, "");
        }, new PhaseClock(device, "test"));
    }

    /** A record of one tensor, all bytes 1. */
    private static BlockRecord tuned(Journal journal, TensorView view) {
        TensorSpec spec = new TensorSpec(view.name(), view.dtype(), view.shape());
        try (PartWriter writer = journal.begin("tuned", List.of(spec))) {
            writer.write(spec.name(), MemorySegment.ofArray(new byte[(int) spec.bytes()]).fill((byte) 1));
            return new BlockRecord(writer.finish(BlockRecord.note(List.of(), Map.of(), List.of(), List.of())));
        }
    }

    private List<BlockRecord> quantize(Transformer model, CheckpointPlan plan, Journal journal, LinearPacker packer) {
        Grid grid = new Grid(run.bits, true, false, DType.F16);
        Calibrator nearest = new Calibrator.RoundToNearest(
                new SolveSettings(grid, run.groupSize, ActOrder.NONE, run.damp));
        WorkCount flops = new WorkCount(model.spec(), run.settings().grids(model.spec()).grids(), false);
        RunProgress progress = new RunProgress(new PhaseClock(model.device(), "test"), flops, run.progress, 1);
        BlockQuantizer quantizer = new BlockQuantizer(Replicas.of(model), nearest,
                run.settings().grids(model.spec()).grids(), false, ExpertPasses.ALL, progress);
        List<BlockRecord> records = new ArrayList<>();
        try (WriteBehind behind = new WriteBehind(run.output, 1 << 20)) {
            for (int block = 0; block < TinyModel.BLOCKS; block++) {
                try (BlockRecorder recorder = new BlockRecorder(block,
                        journal.begin(BlockRecord.name(block), plan.packed(model.spec().linears(block))), packer,
                        Downloads::atOnce,
                        new LayerReports(run.damp, run.log::add), behind, records::add)) {
                    quantizer.quantize(block, null, recorder);
                    recorder.finish(List.of());
                }
            }
            behind.await();
        }
        return records;
    }

    private static void verify(CheckpointOutput output, Path written) {
        try (ModelDirectory directory = ModelDirectory.open(written)) {
            output.verify(directory);
        }
    }

    /** Of the tensor's first byte. */
    private static void flipLowestBit(Path path, String tensor) {
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            long at = Long.reverseBytes(file.readLong()) + Long.BYTES;
            byte[] header = new byte[(int) at - Long.BYTES];
            file.readFully(header);
            String json = new String(header, StandardCharsets.UTF_8);
            String offsets = json.substring(json.indexOf("\"data_offsets\":[", json.indexOf('"' + tensor + '"')) + 16);
            long place = at + Long.parseLong(offsets.substring(0, offsets.indexOf(',')));
            file.seek(place);
            int first = file.read();
            file.seek(place);
            file.write(first ^ 1);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }
}
