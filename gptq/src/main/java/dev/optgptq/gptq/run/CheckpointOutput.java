package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.Packing;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * Packs solved linears into the checkpoint as they come, and afterwards reads everything back from disk: the integers
 * found there, unpacked by the format's definition, must be the solver's.
 */
final class CheckpointOutput {

    private final CheckpointWriter writer;
    private final CheckpointPlan plan;
    private final QuantizationConfig config;
    private final Device device;
    private final Map<String, Long> fingerprints = new HashMap<>();

    CheckpointOutput(CheckpointWriter writer, CheckpointPlan plan, QuantizationConfig config, Device device) {
        this.writer = writer;
        this.plan = plan;
        this.config = config;
        this.device = device;
    }

    void writeKept() {
        plan.kept().forEach(view -> writer.write(view.name(), view.data()));
    }

    void write(LinearSpec linear, QuantizedWeight weight) {
        int inputs = linear.inputs();
        int outputs = linear.outputs();
        int groups = Math.toIntExact(weight.scales().rows());
        try (TensorArena scratch = device.arena(); Arena host = Arena.ofShared()) {
            Tensor words = scratch.matrix(DType.I32, (long) inputs * config.bits() / 32, outputs);
            device.quant().packCodes(config.bits(), weight.codes(), words);
            Tensor halves = scratch.matrix(DType.F16, groups, outputs);
            device.neural().convert(weight.scales(), halves);

            MemorySegment scales = download(halves, host);
            MemorySegment zeros = download(weight.zeros(), host);
            MemorySegment gIdx = download(weight.groupOf(), host);
            MemorySegment qzeros = host.allocate((long) groups * outputs * config.bits() / 8, Integer.BYTES);
            Packing.packZeros(zeros, config.bits(), groups, outputs, config.format().zeroOffset(), qzeros);

            writer.write(linear.module() + ".qweight", download(words, host));
            writer.write(linear.module() + ".qzeros", qzeros);
            writer.write(linear.module() + ".scales", scales);
            writer.write(linear.module() + ".g_idx", gIdx);
            fingerprints.put(linear.module(), fingerprint(download(weight.codes(), host), zeros, scales, gIdx));
        }
    }

    private MemorySegment download(Tensor tensor, Arena host) {
        MemorySegment bytes = host.allocate(tensor.elements() * tensor.dtype().bytes(), 64);
        device.download(tensor, bytes);
        return bytes;
    }

    /** Compares what is on disk with the source and with the solver's integers; throws UserError OUTPUT naming a difference. */
    void verify(ModelDirectory written) {
        for (TensorView view : plan.kept()) {
            if (view.data().mismatch(written.tensor(view.name()).data()) >= 0) {
                throw damaged(view.name());
            }
        }
        plan.linears().keySet().parallelStream().forEach(module -> verify(module, written));
    }

    private void verify(String module, ModelDirectory directory) {
        PackedLinear packed = directory.packed(module).orElseThrow(() -> damaged(module + ".qweight"));
        try (Arena host = Arena.ofConfined()) {
            MemorySegment codes = host.allocate((long) packed.inputs() * packed.outputs());
            Packing.unpackWeights(packed.qweight(), packed.bits(), packed.inputs(), packed.outputs(), codes);
            MemorySegment zeros = host.allocate(4L * packed.groups() * packed.outputs(), Integer.BYTES);
            Packing.unpackZeros(packed.qzeros(), packed.bits(), packed.groups(), packed.outputs(), packed.zeroOffset(),
                    zeros);
            Long written = fingerprints.get(module);
            if (written == null || fingerprint(codes, zeros, packed.scales(), packed.gIdx()) != written) {
                throw damaged(module);
            }
        }
    }

    private UserError damaged(String name) {
        return new UserError(UserError.Code.OUTPUT, name + ": what was read back from " + writer.workDirectory()
                + " is not what was written; the disk or its file system is damaged. Nothing was kept");
    }

    private static long fingerprint(MemorySegment... parts) {
        CRC32C crc = new CRC32C();
        for (MemorySegment part : parts) {
            for (long at = 0; at < part.byteSize(); at += Integer.MAX_VALUE) {
                crc.update(part.asSlice(at, Math.min(Integer.MAX_VALUE, part.byteSize() - at)).asByteBuffer());
            }
        }
        return crc.getValue();
    }
}
