package dev.optgptq.gptq.bench;

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

/**
 * A model of a shape with random weights, BF16, in memory. Its tensors are windows into one pool of normal numbers, each at
 * another place: a pool of the model's size would only take longer to fill, and times do not depend on values.
 */
final class RandomModel {

    private static final long SEED = 1;
    /** Inputs have a variance of 1 and weights one of DEVIATION^2, which keeps activations in range at any of these widths. */
    private static final double DEVIATION = 0.02;
    /** Numbers of the pool beyond the largest tensor, and the distance of two windows; without a common divisor. */
    private static final long ROOM = 1 << 20;
    private static final long STEP = 40_503;

    private final ModelSpec spec;
    private final MemorySegment pool;
    private final MemorySegment ones;
    private final SequencedMap<String, TensorView> tensors = new LinkedHashMap<>();

    private RandomModel(ModelSpec spec, Arena arena) {
        this.spec = spec;
        long largest = spec.linears(0).stream().mapToLong(linear -> (long) linear.inputs() * linear.outputs()).max()
                .orElse(0);
        long numbers = Math.max(largest, (long) spec.vocabSize() * spec.hiddenSize()) + ROOM;
        pool = arena.allocate(numbers * DType.BF16.bytes(), 64);
        SplittableRandom random = new SplittableRandom(SEED);
        for (long i = 0; i < numbers; i++) {
            // A sum of four is near enough to a normal number, and fast.
            double sum = random.nextDouble() + random.nextDouble() + random.nextDouble() + random.nextDouble() - 2;
            pool.setAtIndex(ValueLayout.JAVA_SHORT, i, Floats.toBF16((float) (DEVIATION * Math.sqrt(3) * sum)));
        }
        ones = arena.allocate((long) spec.hiddenSize() * DType.BF16.bytes(), 64);
        for (int i = 0; i < spec.hiddenSize(); i++) {
            ones.setAtIndex(ValueLayout.JAVA_SHORT, i, Floats.toBF16(1));
        }
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
        ModelSpec.TensorNames names = spec.names();
        int hidden = spec.hiddenSize();
        matrix(names.embedding() + ".weight", spec.vocabSize(), hidden);
        for (int block = 0; block < spec.blocks(); block++) {
            norm(names.inBlock(block, names.attentionNorm()));
            norm(names.inBlock(block, names.mlpNorm()));
            for (LinearSpec linear : spec.linears(block)) {
                matrix(linear.module() + ".weight", linear.outputs(), linear.inputs());
                if (linear.bias()) {
                    add(linear.module() + ".bias", window(linear.outputs()), linear.outputs());
                }
            }
        }
        norm(names.finalNorm());
        if (!spec.tiedHead()) {
            matrix(names.head() + ".weight", spec.vocabSize(), hidden);
        }
    }

    private void norm(String module) {
        add(module + ".weight", ones, spec.hiddenSize());
        if (spec.norm().bias()) {
            add(module + ".bias", window(spec.hiddenSize()), spec.hiddenSize());
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
