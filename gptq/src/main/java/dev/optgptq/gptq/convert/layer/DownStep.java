package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.weights.BlockWeights;
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
record DownStep(LayerSource source, OutputJoin join) {

    DownStep(LayerSource source) {
        this(source, OutputJoin.of(source, NormSlot.AFTER_MLP));
    }

    /**
     * The solution.
     *
     * @param weight [hidden, intermediate]
     */
    record Result(Matrix weight, @Nullable Matrix bias, Fit fit) {}

    /**
     * Fits it; the converted store must be at the block's input, and the original's at its output, or at its input, too, where a norm follows
     * the MLP.
     */
    Result fit() {
        Sequences sequences = source.sequences();
        Device device = source.device();
        DeviceAlgebra algebra = new DeviceAlgebra(device);
        HostCopies copies = new HostCopies(device);
        try (TensorArena arena = device.arena()) {
            LinearMoments train = moments(sequences.summed(), arena);
            LinearMoments heldOut = moments(sequences.heldOut(), arena);
            Tensor bias = join.isNormed() ? null : bias();
            RidgeFit.Result found = new RidgeFit(algebra).refit(train, heldOut, present(algebra, arena),
                    bias == null ? null : joined(bias, algebra, arena), arena);
            Tensor foundBias = found.bias();
            return new Result(apart(copies.downloadDoubles(found.weight()), weight(), true).transposed(),
                    foundBias == null
                            ? null
                            : apart(copies.downloadDoubles(foundBias), Objects.requireNonNull(bias), false),
                    found.fit());
        }
    }

    /** A bias as it joins, F64. */
    private Tensor joined(Tensor bias, DeviceAlgebra algebra, TensorArena arena) {
        if (join.isPlain()) {
            return algebra.copy(bias, arena);
        }
        HostCopies copies = new HostCopies(source.device());
        return copies.uploadDoubles(join.joined(copies.download(bias)), arena);
    }

    /** @param turned whether the present one is stored the other way round */
    private Matrix apart(Matrix found, Tensor present, boolean turned) {
        if (join.isPlain()) {
            return found;
        }
        Matrix before = new HostCopies(source.device()).download(present);
        return join.apart(found, turned ? before.transposed() : before);
    }

    /** The present weights as they join, F64 [intermediate, hidden]. */
    private Tensor present(DeviceAlgebra algebra, TensorArena arena) {
        Device device = source.device();
        if (!join.isPlain()) {
            HostCopies copies = new HostCopies(device);
            return copies.uploadDoubles(join.joined(copies.download(weight()).transposed()), arena);
        }
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
            Tensor keptBias = keptBias(arena);
            sequences.each(which, (at, batch) -> {
                try (TensorArena scratch = device.arena()) {
                    Tensor wanted = sequences.read(device, sequences.original(), batch, ofOriginal);
                    Tensor factors = join.isNormed() ? advance(wanted, keptBias, scratch) : null;
                    Tensor x = sequences.read(device, sequences.converted(), batch, ofConverted);
                    source.converted().forward(x, (site, input, tokens) -> {
                        if (site.equals(InputSite.MLP_OUTPUT)) {
                            // x already includes attention, but not yet the MLP.
                            device.matrix().subtract(wanted, x, wanted);
                            if (factors != null) {
                                join.weigh(input, factors);
                            }
                            sum.add(input, wanted);
                        }
                        return !site.equals(InputSite.MLP_OUTPUT);
                    });
                    device.synchronize();
                }
            });
            return sum.finish();
        }
    }

    private @Nullable Tensor keptBias(TensorArena arena) {
        Tensor bias = bias();
        if (bias == null || !join.isNormed()) {
            return null;
        }
        HostCopies copies = new HostCopies(source.device());
        return copies.upload(join.joined(copies.download(bias)), arena);
    }

    /**
     * Takes the original's stream through the block, less what a bias that stays adds.
     *
     * @param x in place
     * @return the factors of its tokens, [1, N], the arena's
     */
    private Tensor advance(Tensor x, @Nullable Tensor keptBias, TensorArena scratch) {
        Device device = source.device();
        BlockWeights block = source.original().block();
        LinearSpec linear = block.spec().linear(Projection.DOWN);
        Tensor output = scratch.matrix(DType.F32, x.rows(), x.columns());
        source.original().forward(x, (site, input, tokens) -> {
            if (site.equals(InputSite.MLP_OUTPUT)) {
                device.matrix().linear(input, block.weight(linear), block.of(linear).bias(), 0, output);
            }
            return !site.equals(InputSite.MLP_OUTPUT);
        });
        join.add(output, x);
        return join.lessBias(output, keptBias, x, scratch);
    }
}
