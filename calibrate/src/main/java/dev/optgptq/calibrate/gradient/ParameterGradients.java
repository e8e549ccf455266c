package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.HostBuffer;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedMap;

/** The gradient of the mean next-token cross-entropy for every parameter of a model, for comparing with other implementations. */
public final class ParameterGradients {

    private static final String LOSS = "loss";
    private static final long MEMORY_LIMIT = 512L << 20;

    private ParameterGradients() {}

    /**
     * Writes a safetensors file with "loss", float32 [1], the mean over all predictions of all sequences, and its gradient
     * for every parameter under the parameter's name, float32; tied ones once. Throws UserError BAD_SETTING where
     * sequences are too short to predict anything, NUMERIC where a gradient is not finite.
     *
     * @param output the file to write
     */
    public static void write(Transformer model, TokenSequences text, Path output, Progress progress) {
        write(model, text, output, progress, GradientStream.Limits.DEFAULT);
    }

    static void write(Transformer model, TokenSequences text, Path output, Progress progress,
            GradientStream.Limits limits) {
        if (text.length() < 2) {
            throw new UserError(UserError.Code.BAD_SETTING,
                    "sequences of " + text.length() + " tokens hold no prediction; expected at least 2");
        }
        List<TensorSpec> specs = specs(model.spec());
        long bytes = specs.stream().mapToLong(TensorSpec::bytes).sum();
        try (HostBuffer buffer = new HostBuffer(bytes, MEMORY_LIMIT);
                SafetensorsWriter writer = new SafetensorsWriter(output, specs, Map.of())) {
            Sums sums = new Sums(model, text, slices(specs, buffer.memory()));
            long predictions = (long) text.count() * (text.length() - 1);
            new GradientStream(model, model::loadBlock, text, new NextToken(), "gradients", progress, limits)
                    .run((float) (1.0 / predictions), sums);
            sums.finish(predictions);
            for (TensorSpec spec : specs) {
                writer.write(spec.name(), sums.slice(spec.name()));
            }
            writer.finish();
        }
    }

    private static List<TensorSpec> specs(ModelSpec model) {
        List<TensorSpec> specs = new ArrayList<>();
        ModelSpec.TensorNames names = model.names();
        specs.add(new TensorSpec(LOSS, DType.F32, Shape.of(1)));
        specs.add(new TensorSpec(names.embedding() + ".weight", DType.F32,
                Shape.of(model.vocabSize(), model.hiddenSize())));
        for (int block = 0; block < model.blocks(); block++) {
            norm(names.inBlock(block, names.attentionNorm()), model, specs);
            norm(names.inBlock(block, names.mlpNorm()), model, specs);
            for (LinearSpec linear : model.linears(block)) {
                specs.add(new TensorSpec(linear.module() + ".weight", DType.F32,
                        Shape.of(linear.outputs(), linear.inputs())));
                if (linear.bias()) {
                    specs.add(new TensorSpec(linear.module() + ".bias", DType.F32, Shape.of(linear.outputs())));
                }
            }
        }
        norm(names.finalNorm(), model, specs);
        if (!model.tiedHead()) {
            specs.add(new TensorSpec(names.head() + ".weight", DType.F32,
                    Shape.of(model.vocabSize(), model.hiddenSize())));
        }
        return specs;
    }

    private static void norm(String name, ModelSpec model, List<TensorSpec> specs) {
        specs.add(new TensorSpec(name + ".weight", DType.F32, Shape.of(model.hiddenSize())));
        if (model.norm().bias()) {
            specs.add(new TensorSpec(name + ".bias", DType.F32, Shape.of(model.hiddenSize())));
        }
    }

    private static Map<String, MemorySegment> slices(List<TensorSpec> specs, MemorySegment memory) {
        Map<String, MemorySegment> slices = new LinkedHashMap<>();
        long at = 0;
        for (TensorSpec spec : specs) {
            slices.put(spec.name(), memory.asSlice(at, spec.bytes()));
            at += spec.bytes();
        }
        return slices;
    }

    /** Sums over groups of sequences, in host memory: the parameters' gradients are as large as the model. */
    private static final class Sums implements GradientStream.Listener {
        private final Transformer model;
        private final Device device;
        private final TokenSequences text;
        private final Map<String, MemorySegment> slices;
        private double loss;

        private Sums(Transformer model, TokenSequences text, Map<String, MemorySegment> slices) {
            this.model = model;
            this.device = model.device();
            this.text = text;
            this.slices = slices;
        }

        @Override
        public void loss(long firstToken, Tensor nll) {
            try (Arena host = Arena.ofShared()) {
                MemorySegment values = host.allocate(ValueLayout.JAVA_DOUBLE, nll.columns());
                device.download(nll, values);
                for (long i = 0; i < nll.columns(); i++) {
                    boolean last = (firstToken + i + 1) % text.length() == 0;
                    loss += last ? 0 : values.getAtIndex(ValueLayout.JAVA_DOUBLE, i);
                }
            }
        }

        @Override
        public Head headGradients(Head head, TensorArena arena) {
            Head sums = model.backward().zeroGradients(head, arena);
            upload(model.parameters().all(sums));
            return sums;
        }

        @Override
        public BlockWeights gradients(BlockWeights block, TensorArena arena) {
            BlockWeights sums = model.backward().zeroGradients(block, arena);
            upload(model.parameters().all(sums));
            return sums;
        }

        @Override
        public void headDone(Head gradients) {
            download(model.parameters().all(gradients));
        }

        @Override
        public void blockDone(BlockWeights gradients) {
            download(model.parameters().all(gradients));
        }

        @Override
        public void embedded(Tensor ids, Tensor d) {
            String name = model.parameters().embedding();
            try (TensorArena arena = device.arena()) {
                Tensor table = arena.matrix(DType.F32, model.spec().vocabSize(), model.spec().hiddenSize());
                device.upload(slice(name), table);
                device.gradient().embedGradient(ids, d, table);
                device.download(table, slice(name));
            }
        }

        private void upload(SequencedMap<String, Tensor> parameters) {
            parameters.forEach((name, tensor) -> device.upload(slice(name), tensor));
        }

        private void download(SequencedMap<String, Tensor> parameters) {
            parameters.forEach((name, tensor) -> {
                requireFinite(name, tensor);
                device.download(tensor, slice(name));
            });
        }

        private void requireFinite(String name, Tensor gradient) {
            try (TensorArena arena = device.arena(); Arena host = Arena.ofShared()) {
                Tensor count = arena.matrix(DType.I64, 1, 1);
                device.neural().countNonFinite(gradient, count);
                MemorySegment found = host.allocate(ValueLayout.JAVA_LONG);
                device.download(count, found);
                if (found.get(ValueLayout.JAVA_LONG, 0) > 0) {
                    throw new UserError(UserError.Code.NUMERIC, name + ": " + found.get(ValueLayout.JAVA_LONG, 0)
                            + " of " + gradient.elements() + " elements of the loss's gradient are NaN or infinite; "
                            + "the weights of " + model.path() + " overflow float32, or were damaged");
                }
            }
        }

        private void finish(long predictions) {
            slice(LOSS).set(ValueLayout.JAVA_FLOAT_UNALIGNED, 0, (float) (loss / predictions));
        }

        private MemorySegment slice(String name) {
            return Objects.requireNonNull(slices.get(name), name);
        }
    }
}
