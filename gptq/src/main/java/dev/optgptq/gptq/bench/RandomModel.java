package dev.optgptq.gptq.bench;

import dev.optgptq.formats.UserError;
import dev.optgptq.calibrate.family.WeightView;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/**
 * A model of a shape with random weights, BF16, in memory. Its tensors are windows into one pool of normal numbers at
 * different offsets: a pool of the model's size would take longer to fill, and times do not depend on values.
 */
final class RandomModel {

    private static final long SEED = 1;
    /** Inputs have a variance of 1 and weights one of DEVIATION^2, which keeps activations in range at any of these widths. */
    private static final double DEVIATION = 0.02;
    /** Numbers of the pool beyond the largest tensor, and the distance between windows; coprime. */
    private static final long ROOM = 1 << 20;
    private static final long STEP = 40_503;

    private final ModelSpec spec;
    private final MemorySegment pool;
    private final MemorySegment ones;
    private final SequencedMap<String, TensorView> tensors = new LinkedHashMap<>();

    /** Null where linears are plain. */
    private @Nullable RandomPacking packing;

    private RandomModel(ModelSpec spec, Arena arena) {
        this.spec = spec;
        long largest = spec.most(block -> block.linears().stream()
                .mapToLong(linear -> (long) linear.inputs() * linear.outputs() * linear.view().matrices()).max()
                .orElse(0));
        long numbers = Math.max(largest, (long) spec.vocabSize() * spec.hiddenSize()) + ROOM;
        pool = arena.allocate(numbers * DType.BF16.bytes(), 64);
        SplittableRandom random = new SplittableRandom(SEED);
        for (long i = 0; i < numbers; i++) {
            // A sum of four is near enough to a normal number, and fast.
            double sum = random.nextDouble() + random.nextDouble() + random.nextDouble() + random.nextDouble() - 2;
            pool.setAtIndex(ValueLayout.JAVA_SHORT, i, Floats.toBF16((float) (DEVIATION * Math.sqrt(3) * sum)));
        }
        int widest = spec.norms().stream().mapToInt(NormSpec::weightColumns).max().orElse(0);
        ones = arena.allocate((long) widest * DType.BF16.bytes(), 64);
        for (int i = 0; i < widest; i++) {
            ones.setAtIndex(ValueLayout.JAVA_SHORT, i, Floats.toBF16(1));
        }
    }

    /** The same with the linears of blocks packed to a number of bits: the GPTQ layout with random codes. */
    static ModelDirectory openPacked(ModelShape shape, int bits, Arena arena) {
        RandomModel model = new RandomModel(shape.spec(), arena);
        model.packing = new RandomPacking(bits, model.pool, arena);
        model.addAll();
        return ModelDirectory.inMemory(Path.of("random-" + Path.of(shape.name()).getFileName()), shape.config(),
                model.tensors);
    }

    /** @param arena owns the weights */
    static ModelDirectory open(ModelShape shape, Arena arena) {
        RandomModel model = new RandomModel(shape.spec(), arena);
        model.addAll();
        return ModelDirectory.inMemory(Path.of("random-" + Path.of(shape.name()).getFileName()), shape.config(),
                model.tensors);
    }

    /** Random ids. */
    static TokenSequences text(ModelSpec spec, int samples, int sequenceLength) {
        int[] ids = new SplittableRandom(SEED).ints((long) samples * sequenceLength, 0, spec.vocabSize()).toArray();
        return new TokenSequences(ids, samples, sequenceLength);
    }

    private void addAll() {
        EmbeddingSpec embedding = spec.embedding();
        if (embedding.projection() != null || embedding.positions() != null || embedding.norm() != null) {
            throw new UserError(UserError.Code.UNSUPPORTED_MODEL,
                    "bench builds random models without learned positions or norms of embeddings; "
                            + spec.family() + " has them");
        }
        matrix(embedding.table() + ".weight", spec.vocabSize(), spec.hiddenSize());
        for (BlockSpec block : spec.blockSpecs()) {
            block.norms().values().forEach(this::norm);
            block.linears().forEach(this::linear);
            block.parameters().values().forEach(parameter -> add(parameter.name(),
                    window((long) parameter.rows() * parameter.columns()),
                    parameter.shape().stream().mapToLong(Long::longValue).toArray()));
        }
        if (spec.head().norm() != null) {
            norm(spec.head().norm());
        }
        if (!spec.head().tied()) {
            matrix(spec.head().module() + ".weight", spec.vocabSize(), spec.hiddenSize());
        }
    }

    private void linear(LinearSpec linear) {
        WeightView view = linear.view();
        if (packing != null) {
            packing.add(linear, tensors);
            return;
        }
        if (tensors.containsKey(view.weight())) {
            return;
        }
        boolean turned = view.stored() == WeightView.Stored.IN_OUT;
        long rows = turned ? linear.inputs() : linear.outputs();
        long columns = turned ? linear.outputs() : linear.inputs();
        MemorySegment numbers = window(view.matrices() * rows * columns);
        if (view.shared()) {
            add(view.weight(), numbers, view.matrices(), rows, columns);
        } else {
            add(view.weight(), numbers, rows, columns);
        }
        if (linear.bias()) {
            MemorySegment bias = window((long) view.matrices() * linear.outputs());
            if (view.shared()) {
                add(view.biasTensor(), bias, view.matrices(), linear.outputs());
            } else {
                add(view.biasTensor(), bias, linear.outputs());
            }
        }
    }

    private void norm(NormSpec norm) {
        for (NormSpec.Stored stored : norm.stored()) {
            add(stored.tensor(), stored.isBias()
                    ? window(stored.columns())
                    : ones.asSlice(0,
                            (long) stored.columns() * DType.BF16.bytes()),
                    stored.columns());
        }
    }

    private void matrix(String name, long rows, long columns) {
        add(name, window(rows * columns), rows, columns);
    }

    private MemorySegment window(long numbers) {
        long from = tensors.size() * STEP % ROOM;
        return pool.asSlice(from * DType.BF16.bytes(), numbers * DType.BF16.bytes());
    }

    private void add(String name, MemorySegment data, long... shape) {
        tensors.put(name, new TensorView(name, DType.BF16, dev.optgptq.formats.dtype.Shape.of(shape), data.asReadOnly(),
                Path.of("memory")));
    }
}
