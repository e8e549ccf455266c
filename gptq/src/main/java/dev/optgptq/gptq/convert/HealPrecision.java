package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Device.Halves;

/**
 * The matmul dtype of linears while they are healed. Half precision is bfloat16 whatever the model is stored in: it has the range of
 * gradients without scaling the loss. The loss, sums, the optimizer and validation are in float32.
 */
final class HealPrecision {

    /** Hidden width from which products, not launches, are what a step takes. */
    private static final int WIDE = 1024;

    private HealPrecision() {}

    /** F32 or BF16. UserError BAD_SETTING for half precision on a device that gains nothing from it. */
    static DType products(Precision wanted, ModelSpec model, Device device) {
        boolean fast = device.isAccelerator() && device.halves(DType.BF16) == Halves.FAST;
        if (wanted == Precision.HALF && !fast) {
            throw new UserError(UserError.Code.BAD_SETTING, "--heal-precision half: " + device.name()
                    + " has no matrix units for bfloat16 that passed their check; leave the option out, or use another GPU "
                    + "(--device)");
        }
        return switch (wanted) {
            case FLOAT32 -> DType.F32;
            case HALF -> DType.BF16;
            case AUTO -> fast && model.hiddenSize() >= WIDE ? DType.BF16 : DType.F32;
        };
    }
}
