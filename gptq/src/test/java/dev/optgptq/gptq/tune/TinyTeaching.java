package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.gradient.GradientStream.Limits;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.gradient.Teacher;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.refine.TinyBlock;
import dev.optgptq.gptq.testing.PackedLinears;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.TinyTokenizer;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;

/** A tiny model and what its last block puts out, which teaches the same model rounded to 4 bits: 9 sequences of 16 tokens. */
final class TinyTeaching implements AutoCloseable {

    static final int SEQUENCES = 9;
    static final int LENGTH = 16;
    private static final int GROUP_SIZE = 32;

    final Device device;
    final Transformer model;
    final TokenSequences text;
    final List<PackedBlock> blocks;
    private final Arena host = Arena.ofShared();
    private final ModelDirectory directory;
    private final ActivationStore original;
    private final ActivationStore rounded;

    /** @param stretch what all scales are multiplied by, so that there is something to learn */
    TinyTeaching(Device device, TinyModel tiny, float stretch, Path folder) {
        this.device = device;
        this.directory = ModelDirectory.open(tiny.write(folder));
        this.model = Transformer.open(directory, device);
        this.text = new TokenSequences(TinyTokenizer.text(5, SEQUENCES * LENGTH).chars().toArray(), SEQUENCES, LENGTH);
        this.blocks = rounded(stretch);
        this.original = outputs(model::loadBlock);
        try (Student student = new Student(model, blocks, false)) {
            this.rounded = outputs(student.weights(true));
        }
    }

    private List<PackedBlock> rounded(float stretch) {
        List<PackedBlock> result = new ArrayList<>();
        for (int index = 0; index < TinyModel.BLOCKS; index++) {
            try (TensorArena arena = device.arena()) {
                BlockWeights block = model.loadBlock(index, arena);
                result.add(new PackedBlock(block.linears(), block.linears().stream().map(linear -> {
                    PackedLinear nearest = PackedLinears.nearest(host, floats(block.weight(linear)), 4, linear.inputs(),
                            linear.outputs(), GROUP_SIZE);
                    float[] scales = PackedLinears.scales(nearest);
                    for (int i = 0; i < scales.length; i++) {
                        scales[i] *= stretch;
                    }
                    return PackedLinears.withScales(host, nearest, scales);
                }).toList()));
            }
        }
        return result;
    }

    /** Behind the last block, for all sequences. */
    private ActivationStore outputs(GradientStream.Blocks weights) {
        ActivationStore store = new ActivationStore(text.tokens(), TinyModel.HIDDEN, Long.MAX_VALUE);
        try (TensorArena arena = device.arena()) {
            int rows = Math.toIntExact(text.tokens());
            Tensor x = arena.matrix(DType.F32, rows, TinyModel.HIDDEN);
            Tensor ids = arena.vector(DType.I32, rows);
            text.upload(device, 0, ids);
            model.embed(ids, text.length(), x);
            Transformer.Workspace workspace = model.workspace(arena, rows, LENGTH);
            for (int index = 0; index < TinyModel.BLOCKS; index++) {
                model.forward(weights.load(index, arena), x, workspace, InputTap.NONE);
            }
            store.write(device, 0, x);
        }
        return store;
    }

    Distillation distillation() {
        return new Distillation(model, null, text, original, Limits.DEFAULT);
    }

    EndToEndTuner tuner(int steps) {
        return tuner(steps, original);
    }

    /** The rounded model, as it is at first, is its own teacher: nothing can come closer. */
    EndToEndTuner tunerTowardsItself(int steps) {
        return tuner(steps, rounded);
    }

    private EndToEndTuner tuner(int steps, ActivationStore teacher) {
        return new EndToEndTuner(model, text, teacher, Schedule.of(steps, SEQUENCES - 1, 3), Limits.DEFAULT,
                TinyBlock.SILENT);
    }

    /** KL(original || it), the mean over the predictions of those sequences, in nats. */
    double divergence(GradientStream.Blocks weights, int... sequences) {
        TokenSequences some = text.select(sequences);
        double[] sum = {0};
        new GradientStream(model, weights, some, new Teacher(original, sequences), "test", Progress.SILENT,
                Limits.DEFAULT).evaluate((first, losses) -> sum[0] += Predictions.sum(device, first, losses, LENGTH));
        return sum[0] / Predictions.count(some);
    }

    float[] floats(Tensor tensor) {
        try (Arena bytes = Arena.ofShared()) {
            MemorySegment found = bytes.allocate(ValueLayout.JAVA_FLOAT, tensor.elements());
            device.download(tensor, found);
            return found.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    void upload(float[] values, Tensor tensor) {
        try (Arena bytes = Arena.ofShared()) {
            device.upload(bytes.allocateFrom(ValueLayout.JAVA_FLOAT, values), tensor);
            device.synchronize();
        }
    }

    /** The same codes with the scales that a student kept. */
    List<PackedBlock> withKept(Student student) {
        Map<LinearSpec, float[]> scales = new HashMap<>();
        student.kept(new TunedSink() {
            @Override
            public void scales(LinearSpec linear, MemorySegment kept) {
                scales.put(linear, PackedLinears.floats(kept));
            }

            @Override
            public void norm(String tensor, MemorySegment values) {
                // scales are asked for
            }
        });
        return blocks.stream().map(block -> new PackedBlock(block.linears(),
                IntStream.range(0, block.packed().size()).mapToObj(i -> PackedLinears.withScales(host,
                        block.packed().get(i), Objects.requireNonNull(scales.get(block.linears().get(i)))))
                        .toList()))
                .toList();
    }

    /** Hears of norms alone. */
    interface Norms extends TunedSink {
        @Override
        default void scales(LinearSpec linear, MemorySegment scales) {
            // norms are asked for
        }
    }

    @Override
    public void close() {
        original.close();
        rounded.close();
        directory.close();
        host.close();
    }
}
