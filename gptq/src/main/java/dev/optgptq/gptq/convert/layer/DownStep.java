package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.fit.DeviceAlgebra;
import dev.optgptq.gptq.convert.fit.Fit;
import dev.optgptq.gptq.convert.fit.LinearMoments;
import dev.optgptq.gptq.convert.fit.RidgeFit;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Matrix;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Refits the MLP's down projection so that the converted stream after the block approaches the original's. */
record DownStep(LayerSource source) {

    /**
     * The solution.
     *
     * @param weight [hidden, intermediate]
     */
    record Result(Matrix weight, @Nullable Matrix bias, Fit fit) {}

    /** Fits it; the original's store must be at the block's output, the converted one at its input. */
    Result fit() {
        Sequences sequences = source.sequences();
        Device device = source.device();
        DeviceAlgebra algebra = new DeviceAlgebra(device);
        HostCopies copies = new HostCopies(device);
        try (TensorArena arena = device.arena()) {
            LinearMoments train = moments(sequences.summed(), arena);
            LinearMoments heldOut = moments(sequences.heldOut(), arena);
            Tensor bias = bias();
            RidgeFit.Result found = new RidgeFit(algebra).refit(train, heldOut, present(algebra, arena),
                    bias == null ? null : algebra.copy(bias, arena), arena);
            Tensor foundBias = found.bias();
            return new Result(copies.downloadDoubles(found.weight()).transposed(),
                    foundBias == null ? null : copies.downloadDoubles(foundBias), found.fit());
        }
    }

    /** The present weights, F64 [intermediate, hidden]. */
    private Tensor present(DeviceAlgebra algebra, TensorArena arena) {
        Device device = source.device();
        try (TensorArena scratch = device.arena()) {
            Tensor weight = new HostCopies(device).single(weight(), scratch);
            long inputs = weight.columns();
            Tensor turned = scratch.matrix(DType.F32, inputs, weight.rows());
            device.matrix().transpose(weight, turned);
            return algebra.copy(turned, arena);
        }
    }

    static LinearSpec linear(LayerSource source) {
        return source.converted().block().spec().linear(Projection.DOWN);
    }

    private Tensor weight() {
        return source.converted().block().weight(linear(source));
    }

    private @Nullable Tensor bias() {
        return source.converted().block().of(linear(source)).bias();
    }

    /** Writes a down projection to the converted block. */
    void write(Matrix weight, @Nullable Matrix bias) {
        HostCopies copies = new HostCopies(source.device());
        copies.upload(weight, weight());
        if (bias != null) {
            copies.upload(bias, Objects.requireNonNull(bias()));
        }
    }

    /** @param owner of the moments */
    private LinearMoments moments(int[] which, TensorArena owner) {
        Device device = source.device();
        Sequences sequences = source.sequences();
        try (TensorArena arena = device.arena()) {
            LinearSum sum = new LinearSum(device, arena, owner,
                    source.original().block().spec().inputs(InputSite.MLP_OUTPUT),
                    source.hidden());
            Tensor ofOriginal = arena.matrix(DType.F32, sequences.batchRows(), source.hidden());
            Tensor ofConverted = arena.matrix(DType.F32, sequences.batchRows(), source.hidden());
            sequences.each(which, (at, batch) -> {
                Tensor wanted = sequences.read(device, sequences.original(), batch, ofOriginal);
                Tensor x = sequences.read(device, sequences.converted(), batch, ofConverted);
                source.converted().forward(x, (site, input, tokens) -> {
                    if (site.equals(InputSite.MLP_OUTPUT)) {
                        // x already includes attention, but not yet the MLP.
                        device.matrix().subtract(wanted, x, wanted);
                        sum.add(input, wanted);
                    }
                    return !site.equals(InputSite.MLP_OUTPUT);
                });
            });
            return sum.finish();
        }
    }
}
