package dev.optgptq.gptq.solve;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/**
 * The codes of one linear with their grid. These integers are written as they are; nothing is derived from the
 * dequantized weight.
 *
 * @param codes U8 [in, out]
 * @param scales F32 [G, out], exact values of the grid's scale type once SiteSolver returns them
 * @param zeros I32 [G, out]
 * @param groupOf I32 [1, in], the g_idx: which row of scales an input uses, in the inputs' own order
 */
public record QuantizedWeight(Tensor codes, Tensor scales, Tensor zeros, Tensor groupOf) {

    /**
     * The solver's weight to the bit: the same op on the same integers.
     *
     * @param owner the device that has them
     * @param on where the weight is wanted
     * @param weight F32 [out, in] there, written
     */
    public void dequantize(Device owner, Device on, Tensor weight) {
        try (TensorArena scratch = on.arena()) {
            Tensor transposed = scratch.matrix(DType.F32, codes.rows(), codes.columns());
            on.quant().dequantize(there(codes, owner, on, scratch), there(scales, owner, on, scratch),
                    there(zeros, owner, on, scratch), there(groupOf, owner, on, scratch), transposed);
            on.matrix().transpose(transposed, weight);
            on.synchronize();
        }
    }

    /**
     * A copy on another device.
     *
     * @param arena owns it
     */
    public QuantizedWeight on(Device owner, Device other, TensorArena arena) {
        owner.synchronize();
        return new QuantizedWeight(there(codes, owner, other, arena), there(scales, owner, other, arena),
                there(zeros, owner, other, arena), there(groupOf, owner, other, arena));
    }

    static Tensor there(Tensor own, Device owner, Device on, TensorArena arena) {
        if (owner.equals(on)) {
            return own;
        }
        Tensor copy = arena.matrix(own.dtype(), own.rows(), own.columns());
        on.receive(owner, own, copy);
        return copy;
    }
}
