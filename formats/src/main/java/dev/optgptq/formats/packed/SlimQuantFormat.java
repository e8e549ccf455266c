package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;

/**
 * SlimQuant W4A8, for mixtures of experts on DCU: experts have signed 4-bit codes, two a byte, the first of two inputs in the high
 * nibble; other linears have bytes like {@link Int8Format}. Both have one float32 scale for each output. Kernels take an expert's code
 * as a signed byte whose low nibble is 0, which is 16 times the code, and so the stored scale is a sixteenth of the code's.
 *
 * <p>Source: HYGON-AI/vllm-plugin-das at 0faa3af, read 2026-11-30: vllm_hcu/model_executor/layers/quantization/slimquant_w4a8.py
 * (shapes, dtypes, the factor 16) and hyv4_w4a8_kernels.py, unpack_int4 (the order of nibbles).
 */
record SlimQuantFormat() implements PackedFormat {

    static final int EXPERT_BITS = 4;
    /** What the scale of an expert's codes is of the stored one. */
    private static final int EXPERT_SCALE = 16;
    /** Turns unsigned 4-bit codes into two's complement ones that are 8 less, and back. */
    private static final int SIGNS = 0x88888888;
    private static final int PER_BYTE = 2;

    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);

    @Override
    public List<String> suffixes() {
        return List.of(".weight", Int8Format.MARK);
    }

    @Override
    public boolean holdsModules() {
        return true;
    }

    @Override
    public void require(PackedGrid grid) {
        if ((grid.bits() != EXPERT_BITS && grid.bits() != Int8Format.BITS)
                || grid.groupSize() != QuantizationConfig.ONE_GROUP || !grid.symmetric() || grid.descAct()) {
            throw new UserError(Code.BAD_SETTING,
                    "format slimquant: expected experts in 4 bits and other linears in 8, symmetric, one scale for each"
                            + " output, found " + grid + "; leave --bits, --group-size and --no-symmetric out");
        }
    }

    @Override
    public List<StoredTensor> tensors(PackedLayout linear, QuantizationConfig grid) {
        int outputs = linear.outputs();
        TensorSpec scales = new TensorSpec(linear.module() + Int8Format.MARK, DType.F32, Shape.of(outputs, 1));
        float unit = (float) (1 / scaleUnit(grid));
        return List.of(isExpert(grid) ? nibbles(linear) : Int8Format.bytes(linear),
                new StoredTensor(scales, PackedPart.SCALES, (from, to) -> widen(from, unit, to),
                        (from, to) -> to.copyFrom(from)));
    }

    /** int8 [out, in / 2]. */
    private static StoredTensor nibbles(PackedLayout linear) {
        int words = Packing.words(EXPERT_BITS, linear.inputs());
        int outputs = linear.outputs();
        TensorSpec weight = new TensorSpec(linear.module() + ".weight", DType.I8,
                Shape.of(outputs, linear.inputs() / PER_BYTE));
        return new StoredTensor(weight, PackedPart.CODES, (from, to) -> {
            Repacking.transposeWords(from, words, outputs, SIGNS, to);
            Repacking.swapNibbles(to);
        }, (from, to) -> {
            Repacking.transposeWords(from, outputs, words, SIGNS, to);
            Repacking.swapNibbles(to);
        });
    }

    /** float16 to float32, exactly. */
    private static void widen(MemorySegment halves, float unit, MemorySegment to) {
        for (long i = 0; i < halves.byteSize() / Short.BYTES; i++) {
            to.set(FLOAT, Float.BYTES * i, Floats.fromF16(halves.get(SHORT, Short.BYTES * i)) * unit);
        }
    }

    @Override
    public double scaleUnit(QuantizationConfig grid) {
        return isExpert(grid) ? EXPERT_SCALE : 1;
    }

    private static boolean isExpert(QuantizationConfig grid) {
        return grid.bits() == EXPERT_BITS;
    }

    @Override
    public PackedLayout layout(String module, Map<String, TensorView> tensors, QuantizationConfig grid) {
        TensorView weight = LinearTensors.find(module + ".weight", tensors);
        LinearTensors.requireRank(2, weight);
        long columns = weight.shape().dimension(1);
        return LinearTensors.layout(module, isExpert(grid) ? PER_BYTE * columns : columns, weight.shape().dimension(0),
                grid);
    }

    /** Of the code less half of what its bits hold, in two's complement: all bits are the code's, but the highest, which is inverted. */
    @Override
    public BitPlace codes(PackedLayout linear) {
        int bits = linear.bits();
        return (input, output, k) -> {
            int stored = bits == EXPERT_BITS ? input ^ 1 : input;
            return bits * ((long) output * linear.inputs() + stored) + k;
        };
    }

    @Override
    public BitPlace zeros(PackedLayout linear) {
        throw new IllegalStateException("slimquant checkpoints have no zero points");
    }
}
