package dev.optgptq.gptq.run;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.HashMap;
import java.util.Map;

/**
 * Puts the checkpoint together from the finished blocks and the source, and afterwards reads everything back from disk:
 * the integers found there, unpacked by the format's definition, must be the solver's.
 */
final class CheckpointOutput {

    private final CheckpointWriter writer;
    private final CheckpointPlan plan;
    /** Of the integers of each linear, by module. */
    private final Map<String, Long> fingerprints = new HashMap<>();
    /** Of those whose scales were learned later, with these. */
    private final Map<String, Long> tunedScales = new HashMap<>();
    /** Of tensors of the source that a block gave another value, by name. */
    private final Map<String, Long> replaced = new HashMap<>();

    CheckpointOutput(CheckpointWriter writer, CheckpointPlan plan) {
        this.writer = writer;
        this.plan = plan;
    }

    /** Writes scales that were learned after their blocks were finished, before those: they take the place of theirs. */
    void write(TunedScales tuned) {
        tunedScales.putAll(tuned.fingerprints());
        try (SafetensorsFile file = tuned.open()) {
            file.tensors().values().forEach(view -> writer.write(view.name(), view.data()));
        }
    }

    /** Writes all tensors of a block's record: its packed linears, and any others, in place of the source's. */
    void write(BlockRecord block) {
        fingerprints.putAll(block.fingerprints());
        fingerprints.putAll(tunedScales);
        try (SafetensorsFile file = block.part().open()) {
            for (TensorView view : file.tensors().values()) {
                if (!tunedScales.isEmpty() && TunedScales.isScales(view.name())) {
                    continue;
                }
                writer.write(view.name(), view.data());
                if (plan.keeps(view.name())) {
                    replaced.put(view.name(), LinearPacker.fingerprint(view.data()));
                }
            }
        }
    }

    /** Writes what is the source's; after all blocks. */
    void writeKept() {
        plan.kept().stream().filter(view -> !replaced.containsKey(view.name()))
                .forEach(view -> writer.write(view.name(), view.data()));
    }

    /** Compares what is on disk with the source and with the solver's integers; throws UserError OUTPUT naming a difference. */
    void verify(ModelDirectory written) {
        for (TensorView view : plan.kept()) {
            TensorView found = written.tensor(view.name());
            Long expected = replaced.get(view.name());
            if (expected == null
                    ? view.data().mismatch(found.data()) >= 0
                    : LinearPacker.fingerprint(found.data()) != expected) {
                throw damaged(view.name());
            }
        }
        plan.linears().keySet().parallelStream().forEach(module -> verify(module, written));
    }

    private void verify(String module, ModelDirectory directory) {
        PackedLinear packed = directory.packed(module).orElseThrow(() -> damaged(module + ".qweight"));
        Long written = fingerprints.get(module);
        if (written == null || LinearPacker.fingerprint(packed) != written) {
            throw damaged(module);
        }
    }

    private UserError damaged(String name) {
        return new UserError(UserError.Code.OUTPUT, name + ": what was read back from " + writer.workDirectory()
                + " is not what was written; the disk or its file system is damaged");
    }
}
