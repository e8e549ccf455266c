package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.StoredFloats;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Map;

/**
 * Reads packed linears of MLX checkpoints: a bias is -scale times a whole number, which becomes the zero point. MLX's own quantization
 * rounds scale and bias apart, so that this holds up to that rounding only. The weights that are computed with then differ from MLX's
 * by at most 0.12 of a step at 4 bits in bfloat16, 0.015 in float16, and half a step at 8 bits. Other biases are refused.
 */
record MlxLinearReader(PackedLayout layout, TensorView scales, TensorView biases) {

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    /** Half the distance of float16's subnormal numbers. */
    private static final double HALF_SUBNORMAL = 0x1p-25;

    static MlxLinearReader of(String module, Map<String, TensorView> tensors, QuantizationConfig grid) {
        PackedLayout layout = grid.format().packing().layout(module, tensors, grid);
        var stored = grid.format().packing().tensors(layout, grid);
        LinearTensors.require(stored.getFirst().spec(), codes(layout, tensors));
        return new MlxLinearReader(layout, LinearTensors.scales(stored.get(1).spec(), tensors),
                LinearTensors.scales(stored.get(2).spec(), tensors));
    }

    private static TensorView codes(PackedLayout layout, Map<String, TensorView> tensors) {
        return LinearTensors.find(layout.module() + MlxFormat.CODES, tensors);
    }

    /** All but the codes. */
    PackedLinear withCodes(MemorySegment qweight) {
        MemorySegment halves = Arena.ofAuto().allocate(layout.scales().bytes(), Short.BYTES);
        Repacking.transposeHalves(ScaleReader.read(scales, 0, 1), layout.outputs(), layout.groups(), halves);
        return new PackedLinear(layout.bits(), layout.inputs(), layout.outputs(), layout.groups(), 0, qweight, zeros(),
                halves, GptqLinearReader.sequential(layout.inputs(), layout.groups()));
    }

    /** int32 [groups, out * bits / 32] */
    private MemorySegment zeros() {
        MemorySegment zeros = MemorySegment.ofArray(new int[layout.groups() * layout.outputs()]);
        for (int group = 0; group < layout.groups(); group++) {
            for (int output = 0; output < layout.outputs(); output++) {
                zeros.set(INT, Integer.BYTES * ((long) group * layout.outputs() + output), zero(group, output));
            }
        }
        MemorySegment packed = Arena.ofAuto().allocate(layout.qzeros().bytes(), Long.BYTES);
        Packing.packZeros(zeros, layout.bits(), layout.groups(), layout.outputs(), 0, packed);
        return packed;
    }

    private int zero(int group, int output) {
        double scale = value(scales, group, output);
        double bias = value(biases, group, output);
        if (scale == 0 && bias == 0) {
            return 1 << (layout.bits() - 1); // every weight is 0, whatever it is
        }
        double zero = Math.rint(-bias / scale);
        double subnormal = biases.dtype() == DType.F16 || scales.dtype() == DType.F16 ? HALF_SUBNORMAL : 0;
        double rounding = 2 * Math.max(roundoff(scales.dtype()), roundoff(biases.dtype())) * Math.abs(bias)
                + (zero + 1) * subnormal;
        if (zero >= 0 && zero < 1 << layout.bits() && Math.abs(bias + zero * scale) <= rounding) {
            return (int) zero;
        }
        throw new UserError(Double.isFinite(bias) ? Code.UNSUPPORTED_MODEL : Code.NUMERIC, LinearTensors.place(biases)
                + "expected biases that are the scale times a whole number from " + (1 - (1 << layout.bits()))
                + " to 0, up to their rounding, found " + bias + " with a scale of " + scale + " at group " + group
                + ", output " + output + "; zero points cannot stand for it, start from the unquantized model");
    }

    /** The most by which a bias differs from its scale times a zero point, in steps. */
    double biasChange() {
        double most = 0;
        for (int group = 0; group < layout.groups(); group++) {
            for (int output = 0; output < layout.outputs(); output++) {
                double scale = value(scales, group, output);
                if (scale != 0) {
                    most = Math.max(most, Math.abs(value(biases, group, output) / scale + zero(group, output)));
                }
            }
        }
        return most;
    }

    private double value(TensorView tensor, int group, int output) {
        return StoredFloats.get(tensor.data(), tensor.dtype(), (long) output * layout.groups() + group);
    }

    /** The largest relative error of rounding to a dtype. */
    private static double roundoff(DType dtype) {
        return switch (dtype) {
            case F16 -> 0x1p-11;
            case BF16 -> 0x1p-8;
            case F32 -> 0x1p-24;
            case F64, BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, U16, I32, U32, I64, U64 -> 0;
        };
    }
}
