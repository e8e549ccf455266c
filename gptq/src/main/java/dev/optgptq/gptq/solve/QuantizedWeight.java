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
            QuantizedWeight here = on(owner, on, scratch);
            Tensor transposed = scratch.matrix(DType.F32, codes.rows(), codes.columns());
            on.quant().dequantize(here.codes, here.scales, here.zeros, here.groupOf, transposed);
            on.matrix().transpose(transposed, weight);
            on.synchronize();
        }
    }

    /**
     * On another device, a copy; the owner must be done with it.
     *
     * @param arena owns the copy
     */
    public QuantizedWeight on(Device owner, Device other, TensorArena arena) {
        return new QuantizedWeight(other.received(owner, codes, arena), other.received(owner, scales, arena),
                other.received(owner, zeros, arena), other.received(owner, groupOf, arena));
    }
}
