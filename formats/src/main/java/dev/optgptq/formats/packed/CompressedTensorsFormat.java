package dev.optgptq.formats.packed;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * compressed-tensors, pack-quantized (compressors/pack_quantized/helpers.py of vllm-project/compressed-tensors): outputs first, and a
 * dense stream of bits along the inputs. Zero points, of asymmetric grids only, are packed along the outputs. Both are stored as
 * unsigned numbers, 2^(bits-1) more than the signed ones that the format thinks in.
 */
record CompressedTensorsFormat() implements PackedFormat {

    static final String CODES = ".weight_packed";
    private static final String SCALES = ".weight_scale";
    private static final String SHAPE = ".weight_shape";
    private static final String ZEROS = ".weight_zero_point";
    private static final String GROUPS = ".weight_g_idx";
    private static final int WORD_BITS = 32;
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    @Override
    public List<String> suffixes() {
        return List.of(CODES, SCALES, SHAPE, ZEROS, GROUPS);
    }

    @Override
    public boolean holdsModules() {
        return true;
    }

    @Override
    public void require(PackedGrid grid) {
        // Holds every grid.
    }

    @Override
    public List<StoredTensor> tensors(PackedLayout linear, QuantizationConfig grid) {
        int outputs = linear.outputs();
        int words = Packing.words(linear.bits(), linear.inputs());
        List<StoredTensor> tensors = new ArrayList<>();
        tensors.add(new StoredTensor(spec(linear, CODES, DType.I32, outputs, words), PackedPart.CODES,
                (from, to) -> Repacking.transposeWords(from, words, outputs, 0, to),
                (from, to) -> Repacking.transposeWords(from, outputs, words, 0, to)));
        tensors.add(scales(linear));
        tensors.add(StoredTensor.repeated(spec(linear, SHAPE, DType.I64, 2), PackedPart.CODES,
                (codes, to) -> putShape(linear, to)));
        if (!grid.symmetric()) {
            int zeroWords = Packing.words(linear.bits(), outputs);
            tensors.add(new StoredTensor(spec(linear, ZEROS, DType.I32, zeroWords, linear.groups()), PackedPart.ZEROS,
                    (from, to) -> Repacking.transposeWords(from, linear.groups(), zeroWords, 0, to),
                    (from, to) -> Repacking.transposeWords(from, zeroWords, linear.groups(), 0, to)));
        }
        if (grid.descAct()) {
            tensors.add(StoredTensor.same(spec(linear, GROUPS, DType.I32, linear.inputs()), PackedPart.GROUPS));
        }
        return tensors;
    }

    /** float16 [out, groups]. */
    static StoredTensor scales(PackedLayout linear) {
        return new StoredTensor(spec(linear, SCALES, DType.F16, linear.outputs(), linear.groups()), PackedPart.SCALES,
                (from, to) -> Repacking.transposeHalves(from, linear.groups(), linear.outputs(), to),
                (from, to) -> Repacking.transposeHalves(from, linear.outputs(), linear.groups(), to));
    }

    private static TensorSpec spec(PackedLayout linear, String suffix, DType dtype, long... shape) {
        return new TensorSpec(linear.module() + suffix, dtype, Shape.of(shape));
    }

    private static void putShape(PackedLayout linear, MemorySegment to) {
        to.set(LONG, 0, linear.outputs());
        to.set(LONG, Long.BYTES, linear.inputs());
    }

    @Override
    public PackedLayout layout(String module, Map<String, TensorView> tensors, QuantizationConfig grid) {
        TensorView shape = LinearTensors.find(module + SHAPE, tensors);
        LinearTensors.require(new TensorSpec(shape.name(), DType.I64, Shape.of(2)), shape);
        return LinearTensors.layout(module, shape.data().get(LONG, Long.BYTES), shape.data().get(LONG, 0), grid);
    }

    @Override
    public BitPlace codes(PackedLayout linear) {
        return (input, output, k) -> ((long) output * linear.inputs() + input) * linear.bits() + k;
    }

    @Override
    public BitPlace zeros(PackedLayout linear) {
        return (group, output, k) -> {
            long inStream = (long) output * linear.bits() + k;
            return WORD_BITS * (inStream / WORD_BITS * linear.groups() + group) + inStream % WORD_BITS;
        };
    }
}
