package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.formats.packed.Packing;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Between the solver's integers on the device and packed tensors in GPTQ layout, both ways: that is what the journal keeps, and what
 * the checkpoint's tensors are made from.
 *
 * @param config in GPTQ layout
 */
public record LinearPacker(QuantizationConfig config, Device device) {

    /** The same for another device. */
    LinearPacker on(Device other) {
        return new LinearPacker(config, other);
    }

    /** Receives the packed tensors of a linear. */
    interface Sink {
        /** @param tensor its name */
        void accept(String tensor, long bytes, PackedDownload.Part part);
    }

    /**
     * Packs a linear, and begins to copy it to the host.
     *
     * @param weight may be freed when this returns
     * @param packed of this device
     */
    void pack(LinearSpec linear, QuantizedWeight weight, PackedDownload packed, Sink sink) {
        int inputs = linear.inputs();
        int outputs = linear.outputs();
        int bits = config.forModule(linear.module()).bits();
        int groups = Math.toIntExact(weight.scales().rows());
        Tensor checksum = packed.matrix(DType.I32, 1, 1);
        device.quant().checksum(weight.codes(), checksum);
        Tensor words = packed.matrix(DType.I32, (long) inputs * bits / 32, outputs);
        device.quant().packCodes(bits, weight.codes(), words);
        Tensor halves = packed.matrix(DType.F16, groups, outputs);
        device.neural().convert(weight.scales(), halves);

        packed.checksum(checksum);
        PackedDownload.Copied zeros = packed.copyKept(weight.zeros());
        PackedDownload.Copied scales = packed.copy(halves);
        PackedDownload.Copied gIdx = packed.copyKept(weight.groupOf());
        sink.accept(linear.module() + PackedPart.CODES.suffix(), words.bytes(), packed.packed(words));
        sink.accept(linear.module() + PackedPart.ZEROS.suffix(), (long) groups * outputs * bits / 8,
                PackedDownload.packed(zeros, to -> Packing.packZeros(zeros.bytes(), bits, groups, outputs,
                        config.format().packing().zeroOffset(), to)));
        sink.accept(linear.module() + PackedPart.SCALES.suffix(), scales.bytes().byteSize(),
                PackedDownload.packed(scales, to -> to.copyFrom(scales.bytes())));
        sink.accept(linear.module() + PackedPart.GROUPS.suffix(), gIdx.bytes().byteSize(),
                PackedDownload.packed(gIdx, to -> to.copyFrom(gIdx.bytes())));
    }

    /**
     * Overwrites a linear of a loaded block of the source with its quantized weight.
     *
     * @param packed if the linear is streamed, its bytes must be valid as long as the block is used
     */
    public void overwrite(BlockWeights block, LinearSpec linear, PackedLinear packed) {
        if (block.streams(linear)) {
            block.replace(linear, (other, weight) -> on(other).unpack(packed, weight));
            return;
        }
        block.rewrite(device, linear, weight -> {
            unpack(packed, weight);
            return weight;
        });
    }

    /**
     * Reproduces the solver's weight of a linear to the bit: the same op on the same integers.
     *
     * @param weight F32 [out, in], written
     */
    void unpack(PackedLinear packed, Tensor weight) {
        int inputs = packed.inputs();
        int outputs = packed.outputs();
        int groups = packed.groups();
        try (TensorArena scratch = device.arena(); Arena host = Arena.ofShared()) {
            Tensor scales = scratch.matrix(DType.F32, groups, outputs);
            device.neural().convert(scratch.load(packed.scales(), DType.F16, groups, outputs), scales);
            Tensor q = scratch.matrix(DType.F32, inputs, outputs);
            device.quant().dequantize(scratch.load(codes(packed, host), DType.U8, inputs, outputs), scales,
                    scratch.load(zeros(packed, host), DType.I32, groups, outputs),
                    scratch.load(packed.gIdx(), DType.I32, 1, inputs), q);
            device.matrix().transpose(q, weight);
            // The host's copies must outlive the ops that read them.
            device.synchronize();
        }
    }

    /** U8 [in, out]. */
    private static MemorySegment codes(PackedLinear packed, Arena host) {
        MemorySegment codes = host.allocate((long) packed.inputs() * packed.outputs(), 64);
        Packing.unpackWeights(packed.qweight(), packed.bits(), packed.inputs(), packed.outputs(), codes);
        return codes;
    }

    /** I32 [groups, out]. */
    private static MemorySegment zeros(PackedLinear packed, Arena host) {
        MemorySegment zeros = host.allocate(4L * packed.groups() * packed.outputs(), 64);
        Packing.unpackZeros(packed.qzeros(), packed.bits(), packed.groups(), packed.outputs(), packed.zeroOffset(),
                zeros);
        return zeros;
    }
}
