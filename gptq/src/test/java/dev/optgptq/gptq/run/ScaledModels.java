package dev.optgptq.gptq.run;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import java.util.SplittableRandom;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * A model twice, in memory: with weights as small floats and scales, and with the floats that those stand for, decoded here
 * from the formats' specifications.
 */
final class ScaledModels {

    static final long SEED = 11;
    private static final int MX_BLOCK = 32;
    /** OCP Microscaling Formats 1.0, table 6: E2M1 by its four bits. */
    private static final float[] E2M1 = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

    private final Arena arena;
    private final SplittableRandom random = new SplittableRandom(SEED);
    private final SequencedMap<String, TensorView> scaled = new LinkedHashMap<>();
    private final SequencedMap<String, TensorView> plain = new LinkedHashMap<>();

    /** @param arena owns the tensors */
    ScaledModels(Arena arena) {
        this.arena = arena;
    }

    ModelDirectory scaled(String config) {
        return directory(config, scaled);
    }

    ModelDirectory plain(String config) {
        return directory(config, plain);
    }

    private static ModelDirectory directory(String config, SequencedMap<String, TensorView> tensors) {
        ObjectNode json = (ObjectNode) new JsonMapper().readTree(config);
        return ModelDirectory.inMemory(Path.of("memory"), new ModelConfig(json, Path.of("config.json")), tensors);
    }

    /** The same in both, around a mean. */
    void tensor(String name, float mean, long... shape) {
        Shape of = Shape.of(shape);
        float[] values = new float[(int) of.elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = mean + (float) (random.nextGaussian() * 0.1);
        }
        scaled.put(name, floats(name, values, of));
        plain.put(name, floats(name, values, of));
    }

    /** F8_E4M3 with a factor for each block. */
    void fp8(String name, int rows, int columns, int blockRows, int blockColumns) {
        int across = Math.ceilDiv(columns, blockColumns);
        float[] factors = new float[Math.ceilDiv(rows, blockRows) * across];
        for (int i = 0; i < factors.length; i++) {
            factors[i] = (float) (0.0005 * (1 + random.nextDouble()));
        }
        byte[] elements = new byte[rows * columns];
        float[] values = new float[elements.length];
        for (int i = 0; i < elements.length; i++) {
            elements[i] = (byte) ((random.nextInt(2) << 7) | random.nextInt(0x7f));
            values[i] = (float) e4m3(elements[i])
                    * factors[i / columns / blockRows * across + i % columns / blockColumns];
        }
        Shape shape = Shape.of(rows, columns);
        scaled.put(name, bytes(name, DType.F8_E4M3, elements, shape));
        String scales = name + "_scale_inv";
        scaled.put(scales, floats(scales, factors, Shape.of(Math.ceilDiv(rows, blockRows), across)));
        plain.put(name, floats(name, values, shape));
    }

    /** MXFP4 [experts, outputs, inputs]; plain it lies as [experts, inputs, outputs]. */
    void mxfp4(String name, int experts, int outputs, int inputs) {
        int blocks = inputs / MX_BLOCK;
        byte[] elements = new byte[experts * outputs * inputs / 2];
        byte[] scales = new byte[experts * outputs * blocks];
        float[] values = new float[experts * outputs * inputs];
        for (int i = 0; i < scales.length; i++) {
            scales[i] = (byte) (122 + random.nextInt(3));
        }
        for (int i = 0; i < elements.length; i++) {
            elements[i] = (byte) random.nextInt(256);
            double scale = Math.pow(2, Byte.toUnsignedInt(scales[i / (MX_BLOCK / 2)]) - 127);
            int row = i / (inputs / 2);
            for (int half = 0; half < 2; half++) {
                int input = i % (inputs / 2) * 2 + half;
                int at = (row / outputs * inputs + input) * outputs + row % outputs;
                values[at] = (float) (E2M1[(elements[i] >> (4 * half)) & 0xf] * scale);
            }
        }
        scaled.put(name + "_blocks",
                bytes(name + "_blocks", DType.U8, elements, Shape.of(experts, outputs, blocks, MX_BLOCK / 2)));
        scaled.put(name + "_scales", bytes(name + "_scales", DType.U8, scales, Shape.of(experts, outputs, blocks)));
        plain.put(name, floats(name, values, Shape.of(experts, inputs, outputs)));
    }

    /** Sign, four bits of exponent with a bias of 7, three of mantissa (arXiv 2209.05433, table 1); no NaN is made here. */
    private static double e4m3(byte bits) {
        int exponent = (bits >> 3) & 0xf;
        double mantissa = (bits & 7) / 8.0;
        double size = exponent == 0 ? mantissa * Math.pow(2, -6) : (1 + mantissa) * Math.pow(2, exponent - 7);
        return (bits & 0x80) == 0 ? size : -size;
    }

    private TensorView floats(String name, float[] values, Shape shape) {
        MemorySegment data = arena.allocate((long) values.length * Float.BYTES, Float.BYTES);
        MemorySegment.copy(values, 0, data, ValueLayout.JAVA_FLOAT, 0, values.length);
        return new TensorView(name, DType.F32, shape, data, Path.of("memory"));
    }

    private TensorView bytes(String name, DType dtype, byte[] values, Shape shape) {
        MemorySegment data = arena.allocate(values.length);
        MemorySegment.copy(values, 0, data, ValueLayout.JAVA_BYTE, 0, values.length);
        return new TensorView(name, dtype, shape, data, Path.of("memory"));
    }
}
