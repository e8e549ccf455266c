package dev.optgptq.gptq.refine;

import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.refine.Variants.Variant;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.GptqVariant;
import dev.optgptq.gptq.solve.Polish;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.gptq.solve.SolveSettings;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.TinyTokenizer;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** The first block of a tiny model with the streams that enter it: 9 sequences of 16 tokens, of which one is held out. */
public final class TinyBlock implements AutoCloseable {

    public static final int SEQUENCES = 9;
    public static final int LENGTH = 16;
    static final Grid INT3 = new Grid(3, true, false, DType.F16);
    static final SolveSettings SETTINGS = new SolveSettings(INT3, 32, ActOrder.STATIC, 0.01);
    static final ModuleGrids GRIDS = ModuleGrids.uniform(new PackedGrid(3, 32, true, false));

    public final Device device;
    public final Transformer model;
    public final TokenSequences text;
    public final Streams streams;
    private final ModelDirectory directory;
    private final TensorArena arena;

    public TinyBlock(TinyModel tiny, Path folder) {
        this.device = Devices.open("cpu", 1);
        this.directory = ModelDirectory.open(tiny.write(folder));
        this.arena = device.arena();
        this.model = Transformer.open(directory, device);
        this.text = new TokenSequences(TinyTokenizer.text(5, SEQUENCES * LENGTH).chars().toArray(), SEQUENCES, LENGTH);
        this.streams = new Streams(embedded(model, text), embedded(model, text), null, LENGTH,
                Partition.of((SEQUENCES - 1L) * LENGTH, LENGTH, 4 * LENGTH, 1, 1));
    }

    /** Of a text before the first block. */
    static ActivationStore embedded(Transformer model, TokenSequences text) {
        Device device = model.device();
        ActivationStore store = new ActivationStore(text.tokens(), model.spec().hiddenSize(), Long.MAX_VALUE);
        try (TensorArena arena = device.arena()) {
            Tensor ids = arena.vector(DType.I32, text.tokens());
            Tensor x = arena.matrix(DType.F32, text.tokens(), model.spec().hiddenSize());
            text.upload(device, 0, ids);
            model.embed(ids, text.length(), x);
            store.write(device, 0, x);
        }
        return store;
    }

    /** Solves the block; afterwards the original stream is at its output, and the quantized one at its input. */
    Candidate solve(Variant variant) {
        Replicas models = Replicas.of(model);
        try (Replicas.Block weights = models.loadBlock(0);
                BlockMoments moments = new BlockMoments(models, 0, streams, null, false, ExpertPasses.ALL, SILENT)) {
            moments.capture(weights);
            try (VariantSolver solver = new VariantSolver(models, 0, SETTINGS, GRIDS, moments, true, SILENT)) {
                return solver.solve(variant);
            }
        }
    }

    /** Rounded to nearest: with independent inputs, GPTQ has no errors to compensate. */
    Candidate nearest() {
        TensorArena arena = device.arena();
        BlockWeights weights = model.loadBlock(0, arena);
        List<SolvedLinear> linears = new ArrayList<>();
        for (LinearSpec linear : weights.linears()) {
            Tensor identity = arena.matrix(DType.F32, linear.inputs(), linear.inputs());
            Tensor ones = arena.vector(DType.F32, linear.inputs());
            device.matrix().fill(identity, 0);
            device.matrix().fill(ones, 1);
            device.matrix().setDiagonal(identity, ones);
            try (SiteSolver solver = new SiteSolver(device, new Calibrator.Gradient(SETTINGS), identity, "identity")) {
                linears.add(new SolvedLinear(linear, solver.solve(arena, weights.weight(linear),
                        new GptqVariant(false, null, Polish.NONE, true)), null, 0));
            }
        }
        return new Candidate(weights, linears, arena);
    }

    /** Of what lasts as long as this does. */
    TensorArena arena() {
        return arena;
    }

    BlockJudge judge() {
        return new BlockJudge(Replicas.of(model), 0, streams, null, SILENT);
    }

    /** A candidate that computes with what the original has, times a factor in one linear. */
    Candidate scaled(float factor) {
        TensorArena arena = device.arena();
        BlockWeights weights = model.loadBlock(0, arena);
        Tensor weight = weights.weight(weights.linears().getLast());
        float[] values = floats(weight);
        for (int i = 0; i < values.length; i++) {
            values[i] *= factor;
        }
        upload(values, weight);
        return new Candidate(weights, List.of(), arena);
    }

    public float[] floats(Tensor tensor) {
        try (Arena host = Arena.ofConfined()) {
            MemorySegment bytes = host.allocate(ValueLayout.JAVA_FLOAT, tensor.elements());
            device.download(tensor, bytes);
            return bytes.toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    byte[] bytes(Tensor tensor) {
        try (Arena host = Arena.ofConfined()) {
            MemorySegment bytes = host.allocate(tensor.elements() * tensor.dtype().bytes(), Double.BYTES);
            device.download(tensor, bytes);
            return bytes.toArray(ValueLayout.JAVA_BYTE);
        }
    }

    public void upload(float[] values, Tensor tensor) {
        try (Arena host = Arena.ofShared()) {
            device.upload(host.allocateFrom(ValueLayout.JAVA_FLOAT, values), tensor);
            device.synchronize();
        }
    }

    @Override
    public void close() {
        streams.quantized().close();
        streams.original().close();
        arena.close();
        directory.close();
        device.close();
    }

    public static final Phases SILENT = new Phases() {
        @Override
        public void enter(String phase) {
            // nobody counts
        }

        @Override
        public void forward(long rows) {
            // nobody counts
        }

        @Override
        public void captured(Set<InputSite> sites, long rows) {
            // nobody counts
        }

        @Override
        public void hessian(InputSite site, long rows) {
            // nobody counts
        }

        @Override
        public void cross(InputSite site, long rows) {
            // nobody counts
        }

        @Override
        public void solved(LinearSpec linear, Polish polish) {
            // nobody counts
        }

        @Override
        public void learned(long rows) {
            // nobody counts
        }
    };
}
