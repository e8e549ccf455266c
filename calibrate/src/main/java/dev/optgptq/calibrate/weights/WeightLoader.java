package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.BlockSpec.ParameterSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.WeightView;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Brings weights from a model directory to the device, whatever they are stored as: norms and biases as F32, the weights of
 * linears in the dtype of the products, which is exact where they are stored in it. Shapes were checked when the model was
 * opened; what is checked here is that every number is finite.
 *
 * @param products dtype of what the linears multiply: F32, F16 or BF16
 * @param prefetched what need not be uploaded again
 */
public record WeightLoader(ModelDirectory directory, Device device, DType products, PrefetchedTensors prefetched) {

    /** A linear of a block, packed or plain, [out, in] whichever way round it is stored. */
    public LinearWeights linear(LinearSpec linear, TensorArena arena) {
        Optional<PackedLinear> packed = directory.packed(linear.module());
        Tensor weight = packed.isPresent()
                ? unpack(linear.module(), packed.get(), arena)
                : matrix(linear, arena);
        WeightView view = linear.view();
        return new LinearWeights(weight, directory.tensors().containsKey(view.biasTensor())
                ? decode(view.biasTensor(), view.index(), view.matrices(), DType.F32, 1, linear.outputs(), arena)
                : null);
    }

    private Tensor matrix(LinearSpec linear, TensorArena arena) {
        WeightView view = linear.view();
        if (view.stored() == WeightView.Stored.OUT_IN) {
            return decode(view.weight(), view.index(), view.matrices(), products, linear.outputs(), linear.inputs(),
                    arena);
        }
        Tensor weight = arena.matrix(products, linear.outputs(), linear.inputs());
        try (TensorArena scratch = device.arena()) {
            device.matrix().transpose(decode(view.weight(), view.index(), view.matrices(), products, linear.inputs(),
                    linear.outputs(), scratch), weight);
        }
        return weight;
    }

    /**
     * A linear outside the blocks, which may be packed.
     *
     * @param module its name without ".weight"
     * @param bias full name of its bias; null for none
     */
    public LinearWeights plain(String module, @Nullable String bias, int outputs, int inputs, TensorArena arena) {
        Optional<PackedLinear> packed = directory.packed(module);
        return new LinearWeights(packed.isPresent()
                ? unpack(module, packed.get(), arena)
                : decode(module + ".weight", 0, 1, products, outputs, inputs, arena),
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
        if (view.dtype() == decoded.dtype() && view.dtype() != DType.F32) {
            device.upload(stored, decoded);
            requireFinite(name, decoded);
            return;
        }
        try (TensorArena scratch = device.arena()) {
            device.neural().convert(scratch.load(stored, view.dtype(), rows, columns), decoded);
            requireFinite(name, decoded);
        }
    }

    /** A part of a packed linear. */
    private Tensor part(String name, MemorySegment bytes, DType dtype, long rows, long columns, TensorArena scratch) {
        Tensor there = prefetched.find(name, dtype, rows, columns);
        return there == null ? scratch.load(bytes, dtype, rows, columns) : there;
    }

    /** [rows, columns] in the stored dtype. */
    public Tensor asStored(String name, long rows, long columns, TensorArena arena) {
        TensorView view = directory.tensor(name);
        return arena.load(view.data(), view.dtype(), rows, columns);
    }

    private Tensor unpack(String module, PackedLinear packed, TensorArena arena) {
        int inputs = packed.inputs();
        int outputs = packed.outputs();
        Tensor weight = arena.matrix(products, outputs, inputs);
        try (TensorArena scratch = device.arena()) {
            Tensor transposed = scratch.matrix(DType.F32, inputs, outputs);
            device.quant().dequantizePacked(packed.bits(), packed.zeroOffset(),
                    part(module + ".qweight", packed.qweight(), DType.I32, inputs * (long) packed.bits() / 32, outputs,
                            scratch),
                    part(module + ".qzeros", packed.qzeros(), DType.I32, packed.groups(),
                            outputs * (long) packed.bits() / 32, scratch),
                    part(module + ".scales", packed.scales(), DType.F16, packed.groups(), outputs, scratch),
                    part(module + ".g_idx", packed.gIdx(), DType.I32, 1, inputs, scratch), transposed);
            Tensor unpacked = products == DType.F32 ? weight : scratch.matrix(DType.F32, outputs, inputs);
            device.matrix().transpose(transposed, unpacked);
            requireFinite(module + ".scales", unpacked);
            if (products != DType.F32) {
                device.neural().convert(unpacked, weight);
            }
        }
        return weight;
    }

    /** @param name of the tensor that the values come from, for messages */
    public void requireFinite(String name, Tensor values) {
        try (TensorArena scratch = device.arena(); Arena host = Arena.ofShared()) {
            Tensor count = scratch.matrix(DType.I64, 1, 1);
            device.neural().countNonFinite(values, count);
            MemorySegment found = host.allocate(ValueLayout.JAVA_LONG);
            device.download(count, found);
            long bad = found.get(ValueLayout.JAVA_LONG, 0);
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
