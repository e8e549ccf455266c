package dev.optgptq.calibrate.gradient;

import dev.optgptq.kernels.HostVectors;
import java.util.function.BiConsumer;
import dev.optgptq.calibrate.weights.ParameterNames.Place;
import dev.optgptq.calibrate.weights.EmbeddingWeights;
import dev.optgptq.calibrate.family.WeightView;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.HeadSpec;
import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.family.BlockSpec;
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
        if (model.spec().head().normalised()) {
            throw new UserError(UserError.Code.UNSUPPORTED_MODEL, model.path() + ": " + model.spec().head().module()
                    + ".weight is normalised row by row, and its own gradient is not implemented; token weights and "
                    + "perplexity need none");
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

    /** Every parameter with a gradient, in its layout on disk. */
    private static List<TensorSpec> specs(ModelSpec model) {
        Map<String, Shape> shapes = new LinkedHashMap<>();
        embedding(model, shapes);
        for (BlockSpec block : model.blockSpecs()) {
            block.norms().values().forEach(norm -> norm(norm, shapes));
            block.linears().forEach(linear -> linear(linear, shapes));
            block.parameters().forEach((which, parameter) -> {
                if (which.learns()) {
                    shapes.put(parameter.name(), shape(parameter.shape()));
                }
            });
        }
        head(model, shapes);
        List<TensorSpec> specs = new ArrayList<>();
        specs.add(new TensorSpec(LOSS, DType.F32, Shape.of(1)));
        shapes.forEach((name, shape) -> specs.add(new TensorSpec(name, DType.F32, shape)));
        return specs;
    }

    private static void embedding(ModelSpec model, Map<String, Shape> shapes) {
        EmbeddingSpec form = model.embedding();
        shapes.put(form.table() + ".weight", Shape.of(model.vocabSize(), form.width()));
        if (form.projection() != null) {
            shapes.put(form.projection() + ".weight", Shape.of(model.hiddenSize(), form.width()));
        }
        if (form.positions() != null) {
            shapes.put(form.positions().table() + ".weight", Shape.of(form.positions().rows(), model.hiddenSize()));
        }
        if (form.norm() != null) {
            norm(form.norm(), shapes);
        }
    }

    private static void head(ModelSpec model, Map<String, Shape> shapes) {
        HeadSpec form = model.head();
        if (form.norm() != null) {
            norm(form.norm(), shapes);
        }
        if (form.projection() != null) {
            shapes.put(form.projection() + ".weight", Shape.of(form.width(), model.hiddenSize()));
        }
        if (!form.tied()) {
            shapes.put(form.module() + ".weight", Shape.of(model.vocabSize(), form.width()));
        }
        if (form.bias()) {
            shapes.put(form.module() + ".bias", Shape.of(model.vocabSize()));
        }
    }

    private static void norm(NormSpec norm, Map<String, Shape> shapes) {
        norm.stored().forEach(stored -> shapes.put(stored.tensor(), Shape.of(stored.columns())));
    }

    private static void linear(LinearSpec linear, Map<String, Shape> shapes) {
        WeightView view = linear.view();
        boolean turned = view.stored() == WeightView.Stored.IN_OUT;
        long rows = turned ? linear.inputs() : linear.outputs();
        long columns = turned ? linear.outputs() : linear.inputs();
        shapes.put(view.weight(),
                view.shared() ? Shape.of(view.matrices(), rows, columns) : Shape.of(rows, columns));
        if (linear.bias()) {
            shapes.put(view.biasTensor(),
                    view.shared() ? Shape.of(view.matrices(), linear.outputs()) : Shape.of(linear.outputs()));
        }
    }

    private static Shape shape(List<Long> dimensions) {
        return Shape.of(dimensions.stream().mapToLong(Long::longValue).toArray());
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
            double[] values = HostVectors.doubles(device, nll);
            for (int i = 0; i < values.length; i++) {
                boolean last = (firstToken + i + 1) % text.length() == 0;
                loss += last ? 0 : values[i];
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
            try (TensorArena arena = device.arena()) {
                EmbeddingWeights weights = model.loadEmbedding(arena);
                EmbeddingWeights sums = weights.zeros(device, arena);
                SequencedMap<Place, Tensor> parameters = model.parameters().all(sums);
                upload(parameters);
                model.backward().embedding(weights, ids, text.length(), d, sums);
                download(parameters);
            }
        }

        private void upload(SequencedMap<Place, Tensor> parameters) {
            parameters.forEach((place, tensor) -> asOnDisk(place, tensor, (onDisk, slice) -> {
                device.upload(slice, onDisk);
                if (place.transposed()) {
                    device.matrix().transpose(onDisk, tensor);
                }
            }));
        }

        private void download(SequencedMap<Place, Tensor> parameters) {
            parameters.forEach((place, tensor) -> {
                requireFinite(place.toString(), tensor);
                asOnDisk(place, tensor, (onDisk, slice) -> {
                    if (place.transposed()) {
                        device.matrix().transpose(tensor, onDisk);
                    }
                    device.download(onDisk, slice);
                });
            });
        }

        /** A tensor in the shape of the parameter on disk, and its bytes. */
        private void asOnDisk(Place place, Tensor tensor, BiConsumer<Tensor, MemorySegment> copy) {
            long bytes = tensor.elements() * Float.BYTES;
            MemorySegment slice = slice(place.tensor()).asSlice(place.index() * bytes, bytes);
            if (!place.transposed()) {
                copy.accept(tensor, slice);
                return;
            }
            try (TensorArena scratch = device.arena()) {
                long rows = tensor.columns();
                long columns = tensor.rows();
                copy.accept(scratch.matrix(DType.F32, rows, columns), slice);
                device.synchronize();
            }
        }

        private void requireFinite(String name, Tensor gradient) {
            try (TensorArena arena = device.arena()) {
                Tensor count = arena.matrix(DType.I64, 1, 1);
                device.neural().countNonFinite(gradient, count);
                long bad = HostVectors.longs(device, count)[0];
                if (bad > 0) {
                    throw new UserError(UserError.Code.NUMERIC, name + ": " + bad
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
