package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.scaled.Fp8Tensor;
import dev.optgptq.formats.scaled.Mxfp4Tensor;
import dev.optgptq.formats.scaled.ScaledTensor;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.kernels.Device.Halves;
import dev.optgptq.kernels.Device;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The matmul dtype of the linears during calibration. Half precision means the dtype that the model is stored in: its
 * weights are then exact, and its activations are in the range that it was trained and is served with.
 *
 * @param dtype F32, F16 or BF16
 * @param remark one line for the log if the choice may surprise
 */
record MatmulDtype(DType dtype, @Nullable String remark) {

    /** Throws UserError BAD_SETTING for half precision on a device that gains nothing from it. */
    static MatmulDtype choose(Precision wanted, ModelDirectory source, ModelSpec model, Device device) {
        return choose(wanted, stored(source, model),
                new Multiplier(device.name(), device.isAccelerator(), device::halves, device::halvesRemark));
    }

    /**
     * What a device gains from fp16/bf16.
     *
     * @param name of the device
     * @param accelerator whether auto may mean more than float32
     * @param remark what multiplies so, or why nothing does
     */
    record Multiplier(String name, boolean accelerator, Function<DType, Halves> halves,
            Function<DType, String> remark) {

        private boolean gains(DType half) {
            return switch (halves.apply(half)) {
                case FAST, VECTOR -> true;
                case PLAIN, WIDENED -> false;
            };
        }
    }

    static MatmulDtype choose(Precision wanted, DType stored, Multiplier device) {
        return switch (wanted) {
            case FLOAT32 -> new MatmulDtype(DType.F32, null);
            case AUTO -> automatic(stored, device);
            case HALF -> half(stored, device);
        };
    }

    /** fp16/bf16 if the model is stored so and the device has matrix units for it. */
    private static MatmulDtype automatic(DType stored, Multiplier device) {
        if (!device.accelerator()) {
            return new MatmulDtype(DType.F32, null);
        }
        if (stored == DType.F32) {
            return new MatmulDtype(DType.F32,
                    "matmul dtype float32, as the model is stored; --precision half is several times as fast on matrix "
                            + "units, and would round its weights");
        }
        for (DType half : preferred(stored)) {
            if (device.halves().apply(half) == Halves.FAST) {
                return new MatmulDtype(half, half == stored ? null : instead(stored, half, device));
            }
        }
        return new MatmulDtype(DType.F32,
                "matmul dtype float32: no BLAS on " + device.name() + " passed the fp16/bf16 check");
    }

    private static MatmulDtype half(DType stored, Multiplier device) {
        List<DType> preferred = preferred(stored);
        for (DType half : preferred) {
            if (device.gains(half)) {
                return new MatmulDtype(half,
                        half == preferred.getFirst() ? null : instead(preferred.getFirst(), half, device));
            }
        }
        if (device.halves().apply(preferred.getFirst()) == Halves.WIDENED) {
            throw new UserError(UserError.Code.BAD_SETTING, "--precision half: " + device.name()
                    + " multiplies " + preferred.getFirst() + " in float32 only"
                    + why(device.remark().apply(preferred.getFirst()))
                    + "; leave the option out, or use a GPU (--device)");
        }
        return new MatmulDtype(preferred.getFirst(), "matmul dtype " + preferred.getFirst() + " on "
                + device.name()
                + " by our own kernel, no faster than float32: no BLAS on this device passed the fp16/bf16 check");
    }

    private static String why(String remark) {
        return remark.isEmpty() ? "" : " (" + remark + ")";
    }

    private static String instead(DType first, DType half, Multiplier device) {
        return "matmul dtype " + half + " instead of " + first + ": the BLAS of " + device.name()
                + " failed the " + first + " check";
    }

    /** bfloat16 has float32's range, so it is the default of a model that declares no dtype. */
    private static List<DType> preferred(DType stored) {
        return stored == DType.F16 ? List.of(DType.F16) : List.of(DType.BF16, DType.F16);
    }

    /** The half-precision dtype that holds all linears exactly as they are stored, else F32. */
    private static DType stored(ModelDirectory source, ModelSpec model) {
        Set<DType> dtypes = IntStream.range(0, model.blocks()).mapToObj(model::linears).flatMap(List::stream)
                .map(LinearSpec::weightTensor).distinct().map(weight -> stored(source, weight))
                .collect(Collectors.toSet());
        DType first = dtypes.iterator().next();
        return dtypes.size() == 1 && (first == DType.F16 || first == DType.BF16) ? first : DType.F32;
    }

    private static DType stored(ModelDirectory source, String weight) {
        Optional<ScaledTensor> scaled = source.scaled(weight);
        if (scaled.isEmpty()) {
            return source.tensor(weight).dtype();
        }
        return switch (scaled.get()) {
            // Two digits and a power of two; an element of FP8 is multiplied by a float32.
            case Mxfp4Tensor mxfp4 -> DType.BF16;
            case Fp8Tensor fp8 -> DType.F32;
        };
    }
}
