package dev.optgptq.calibrate.weights;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.QuantOps.PackedWeights;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Loads the packed linears of a model directory: as they are, or decoded. */
record PackedLoader(WeightLoader loader) {

    private static final ValueLayout.OfInt GROUP = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** As it is stored; the arena owns it. */
    PackedWeights pack(String module, PackedLinear packed, TensorArena arena) {
        PackedWeights weights = new PackedWeights(packed.bits(), packed.zeroOffset(),
                part(module + PackedPart.CODES.suffix(), packed.qweight(), DType.I32,
                        packed.inputs() * (long) packed.bits() / 32,
                        packed.outputs(), arena),
                part(module + PackedPart.ZEROS.suffix(), packed.qzeros(), DType.I32, packed.groups(),
                        packed.outputs() * (long) packed.bits() / 32, arena),
                part(module + PackedPart.SCALES.suffix(), packed.scales(), DType.F16, packed.groups(), packed.outputs(),
                        arena),
                part(module + PackedPart.GROUPS.suffix(), packed.gIdx(), DType.I32, 1, packed.inputs(), arena),
                groupSize(packed));
        loader.requireFinite(module + PackedPart.SCALES.suffix(), weights.scales());
        return weights;
    }

    /** The group size if inputs of a group are neighbours and all groups but the last have one size; else 0. */
    private static int groupSize(PackedLinear packed) {
        int size = 1;
        while (size < packed.inputs() && group(packed, size) == group(packed, 0)) {
            size++;
        }
        if (size == packed.inputs()) {
            return group(packed, 0) == 0 ? Math.ceilDiv(size, 32) * 32 : 0;
        }
        for (int input = 0; input < packed.inputs(); input++) {
            if (group(packed, input) != input / size) {
                return 0;
            }
        }
        return size;
    }

    private static int group(PackedLinear packed, int input) {
        return packed.gIdx().get(GROUP, (long) input * Integer.BYTES);
    }

    /** Decoded into the matmul dtype. */
    void unpack(String module, PackedLinear packed, Tensor weight) {
        int inputs = packed.inputs();
        int outputs = packed.outputs();
        Device device = loader.device();
        DType products = loader.products();
        try (TensorArena scratch = device.arena()) {
            Tensor transposed = scratch.matrix(DType.F32, inputs, outputs);
            PackedWeights stored = pack(module, packed, scratch);
            device.quant().dequantizePacked(stored.bits(), stored.zeroOffset(), stored.qweight(), stored.qzeros(),
                    stored.scales(), stored.groupOf(), transposed);
            Tensor unpacked = products == DType.F32 ? weight : scratch.matrix(DType.F32, outputs, inputs);
            device.matrix().transpose(transposed, unpacked);
            loader.requireFinite(module + PackedPart.SCALES.suffix(), unpacked);
            if (products != DType.F32) {
                device.neural().convert(unpacked, weight);
            }
        }
    }

    /** A copied part of a packed linear: its bytes may be in a file. */
    private Tensor part(String name, MemorySegment bytes, DType dtype, long rows, long columns, TensorArena scratch) {
        TensorView view = loader.directory().tensors().get(name);
        boolean asStored = view != null && view.data().equals(bytes);
        Tensor there = asStored ? loader.prefetched().find(name, dtype, rows, columns) : null;
        if (there != null) {
            return there;
        }
        Tensor part = scratch.matrix(dtype, rows, columns);
        if (view != null) {
            view.reading(() -> loader.device().upload(bytes, part));
        } else {
            loader.device().upload(bytes, part);
        }
        return part;
    }
}
