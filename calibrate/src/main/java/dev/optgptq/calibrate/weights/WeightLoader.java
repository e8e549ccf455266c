package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.BlockSpec.ParameterSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.WeightView;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.formats.scaled.ScaledTensor;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Loads weights from a model directory to the device from any stored dtype: norms and biases as F32, the weights of
 * linears in the matmul dtype, which is exact if they are stored in it. Shapes were checked when the model was opened;
 * here every number is checked to be finite.
 *
 * @param products matmul dtype of the linears: F32, F16 or BF16
 * @param prefetched tensors already on the device
 * @param checks whether numbers must be finite
 */
public record WeightLoader(ModelDirectory directory, Device device, DType products, PrefetchedTensors prefetched,
        boolean keepsPacked, boolean checks) {

    /** One that decodes what is packed. */
    public WeightLoader(ModelDirectory directory, Device device, DType products, PrefetchedTensors prefetched) {
        this(directory, device, products, prefetched, false, true);
    }

    /** The same, which keeps packed linears of blocks as they are. */
    public WeightLoader keepingPacked() {
        return new WeightLoader(directory, device, products, prefetched, true, checks);
    }

    /** The same for what has been loaded before: no number is looked at again. */
    WeightLoader unchecked() {
        return new WeightLoader(directory, device, products, prefetched, keepsPacked, false);
    }

    /** Device memory of a linear's weight. */
    public long weightBytes(LinearSpec linear) {
        long plain = (long) linear.inputs() * linear.outputs() * products.bytes();
        return keepsPacked
                ? directory.packedLayout(linear.module())
                        .map(packed -> packed.tensors().stream().mapToLong(TensorSpec::bytes).sum()).orElse(plain)
                : plain;
    }

    /** Bytes per copy: fit the caches of most CPUs, and enough for a launch on a GPU. */
    private static final long PIECE_BYTES = 4L << 20;

    /** A linear of a block, packed or plain, [out, in] whichever way round it is stored. */
    public LinearWeights linear(LinearSpec linear, TensorArena arena) {
        Optional<PackedLinear> packed = directory.packed(linear.module());
        if (packed.isPresent() && keepsPacked) {
            Tensor bias = bias(linear, arena);
            loadBias(linear, bias);
            return new LinearWeights.Packed(new PackedLoader(this).pack(linear.module(), packed.get(), arena), bias);
        }
        LinearWeights.Dense room = room(linear, arena);
        load(linear, room);
        return room;
    }

    /** Memory for a linear of a block, unset. */
    LinearWeights.Dense room(LinearSpec linear, TensorArena arena) {
        return new LinearWeights.Dense(arena.matrix(products, linear.outputs(), linear.inputs()), bias(linear, arena));
    }

    private @Nullable Tensor bias(LinearSpec linear, TensorArena arena) {
        return directory.tensors().containsKey(linear.biasTensor())
                ? arena.matrix(DType.F32, 1, linear.outputs())
                : null;
    }

    /** Overwrites memory of its shape. */
    void load(LinearSpec linear, LinearWeights.Dense room) {
        loadBias(linear, room.bias());
        Optional<PackedLinear> packed = directory.packed(linear.module());
        if (packed.isPresent()) {
            new PackedLoader(this).unpack(linear.module(), packed.get(), room.weight());
        } else {
            matrix(linear, room.weight());
        }
    }

    void loadBias(LinearSpec linear, @Nullable Tensor bias) {
        if (bias != null) {
            decode(linear.biasTensor(), linear.view().index(), linear.view().matrices(), bias);
        }
    }

    private void matrix(LinearSpec linear, Tensor weight) {
        WeightView view = linear.view();
        Optional<ScaledTensor> scaled = directory.scaled(view.weight());
        if (scaled.isPresent()) {
            new ScaledLoader(device, products).load(linear, scaled.get(), weight);
            requireFinite(scaled.get().parts().getFirst().name(), weight);
        } else if (view.stored() == WeightView.Stored.OUT_IN) {
            decode(view.weight(), view.index(), view.matrices(), weight);
        } else {
            try (TensorArena scratch = device.arena()) {
                device.matrix().transpose(decode(view.weight(), view.index(), view.matrices(), products,
                        linear.inputs(), linear.outputs(), scratch), weight);
            }
        }
    }

    /**
     * A linear outside the blocks, which may be packed.
     *
     * @param module its name without ".weight"
     * @param bias full name of its bias; null for none
     */
    public LinearWeights plain(String module, @Nullable String bias, int outputs, int inputs, TensorArena arena) {
        return plain(module, bias, outputs, inputs, products, arena);
    }

    /**
     * The head: for generation on a CPU as it is stored in F16 or BF16, since reading it takes the time.
     *
     * @param bias as above
     * @param changes whether it is computed with before it multiplies
     */
    LinearWeights head(String module, @Nullable String bias, int outputs, int inputs, boolean changes,
            TensorArena arena) {
        boolean mayBe = !changes && keepsPacked && products == DType.F32 && !device.isAccelerator()
                && directory.packed(module).isEmpty();
        DType stored = mayBe ? directory.tensor(module + ".weight").dtype() : products;
        boolean half = stored == DType.BF16 || stored == DType.F16;
        return plain(module, bias, outputs, inputs, half ? stored : products, arena);
    }

    private LinearWeights plain(String module, @Nullable String bias, int outputs, int inputs, DType dtype,
            TensorArena arena) {
        Optional<PackedLinear> packed = directory.packed(module);
        Tensor weight = arena.matrix(dtype, outputs, inputs);
        if (packed.isPresent()) {
            new PackedLoader(this).unpack(module, packed.get(), weight);
        } else {
            decode(module + ".weight", 0, 1, weight);
        }
        return new LinearWeights.Dense(weight,
                bias == null ? null : decode(bias, 0, 1, DType.F32, 1, outputs, arena));
    }

    public NormWeights norm(NormSpec norm, TensorArena arena) {
        Tensor weight = arena.matrix(DType.F32, 1, norm.weightColumns());
        Tensor bias = norm.bias() ? arena.matrix(DType.F32, 1, norm.weightColumns()) : null;
        for (NormSpec.Stored stored : norm.stored()) {
            Tensor whole = stored.isBias() ? Objects.requireNonNull(bias) : weight;
            decode(stored.tensor(), 0, 1, whole.columns(stored.first(), stored.columns()));
        }
        return NormWeights.of(norm, weight, bias, arena);
    }

    /** F32 [rows, columns], as it is used. */
    public Tensor parameter(ParameterSpec parameter, TensorArena arena) {
        return decode(parameter.name(), 0, 1, DType.F32, parameter.rows(), parameter.columns(), arena);
    }

    private Tensor decode(String name, int index, int matrices, DType wanted, long rows, long columns,
            TensorArena arena) {
        Tensor decoded = arena.matrix(wanted, rows, columns);
        decode(name, index, matrices, decoded);
        return decoded;
    }

    /** One of the matrices that a tensor holds, into the wanted dtype; not copied twice where it is stored in that. */
    private void decode(String name, int index, int matrices, Tensor decoded) {
        TensorView view = directory.tensor(name);
        long rows = decoded.rows();
        long columns = decoded.columns();
        Tensor there = prefetched.find(name, view.dtype(), rows * matrices, columns);
        if (there != null) {
            device.neural().convert(there.rows(index * rows, rows), decoded);
            requireFinite(name, decoded);
            return;
        }
        long bytes = rows * columns * view.dtype().bytes();
        MemorySegment stored = view.data().asSlice(index * bytes, bytes);
        if (view.dtype() == decoded.dtype()) {
            view.reading(() -> device.upload(stored, decoded));
        } else {
            pieces(view, stored, rows, columns, (piece, from) -> device.neural().convert(piece,
                    decoded.rows(from, piece.rows())));
        }
        requireFinite(name, decoded);
    }

    /** Receives rows of a stored tensor: the piece, and its first row. */
    private interface PieceUse {
        void use(Tensor piece, long from);
    }

    /** Passes a stored matrix on in copies of some megabytes. */
    private void pieces(TensorView view, MemorySegment stored, long rows, long columns, PieceUse use) {
        long rowBytes = columns * view.dtype().bytes();
        long step = Math.clamp(PIECE_BYTES / Math.max(1, rowBytes), 1, Math.max(1, rows));
        try (TensorArena scratch = device.arena()) {
            Tensor buffer = scratch.matrix(view.dtype(), step, columns);
            for (long from = 0; from < rows; from += step) {
                Tensor piece = buffer.rows(0, Math.min(step, rows - from));
                MemorySegment bytes = stored.asSlice(from * rowBytes, piece.rows() * rowBytes);
                view.reading(() -> device.upload(bytes, piece));
                use.use(piece, from);
            }
        }
    }

    /** [rows, columns] in the stored dtype, without a copy if possible: only ops that copy rows may read it. */
    public Tensor asStored(String name, long rows, long columns, TensorArena arena) {
        TensorView view = directory.tensor(name);
        return arena.load(view.data(), view.dtype(), rows, columns);
    }

    /** [rows, columns] in the stored dtype, copied. */
    public Tensor copied(String name, long rows, long columns, TensorArena arena) {
        TensorView view = directory.tensor(name);
        Tensor copy = arena.matrix(view.dtype(), rows, columns);
        view.reading(() -> device.upload(view.data(), copy));
        return copy;
    }

    /** Throws UserError NUMERIC where a tensor, as stored, holds a value that is not finite. */
    public void requireFinite(String name, long rows, long columns) {
        TensorView view = directory.tensor(name);
        pieces(view, view.data(), rows, columns, (piece, from) -> requireFinite(name, piece));
    }

    /** @param name of the tensor that the values come from, for messages */
    public void requireFinite(String name, Tensor values) {
        if (!checks) {
            return;
        }
        try (TensorArena scratch = device.arena()) {
            Tensor count = scratch.matrix(DType.I64, 1, 1);
            device.neural().countNonFinite(values, count);
            long bad = HostVectors.longs(device, count)[0];
            if (bad > 0) {
                DType stored = directory.tensor(name).dtype();
                if (values.dtype() == DType.F16 && stored != DType.F16) {
                    throw new UserError(UserError.Code.NUMERIC, name + ": " + bad + " of " + values.elements()
                            + " values are beyond 65504, the largest of F16, or not finite; it is stored in " + stored
                            + ". Use --precision float32");
                }
                throw new UserError(UserError.Code.NUMERIC, name + ": " + bad + " of " + values.elements()
                        + " values are NaN or infinite in " + directory.tensor(name).file()
                        + "; the file is damaged or training diverged");
            }
        }
    }
}
