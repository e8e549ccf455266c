package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.formats.files.OutputFiles;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.model.WrittenTensors;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedLinearReader;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.formats.packed.StoredTensor;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.function.Predicate;

/**
 * Assembles the checkpoint from the finished blocks and the source, and reads everything back from disk: the integers there,
 * unpacked by the format's definition, must equal the solver's. A block's are unpacked as soon as it is written; in the end, when
 * the checkpoint is read as any reader does, the packed bytes must still be the ones that were unpacked.
 */
public final class CheckpointOutput {

    private final CheckpointWriter writer;
    private final CheckpointPlan plan;
    private final Predicate<String> comesLater;
    private final ParallelChecks checks;
    /** Fingerprints of the integers of each linear, by module. */
    private final Map<String, Long> fingerprints = new HashMap<>();
    /** Checksums of the source's tensors that were replaced, by name. */
    private final Map<String, Long> replaced = new HashMap<>();
    /** Linears that are on disk and hold the solver's integers, by module. */
    private final Map<String, PackedChecksum> checked = new ConcurrentHashMap<>();
    private final SortedMap<String, ScaleCount> scales = new ConcurrentSkipListMap<>();
    private boolean outsideWritten;

    /**
     * @param comesLater which tensors are learned after all blocks are finished, and replace theirs and the source's
     * @param threads that read back and compare
     */
    public CheckpointOutput(CheckpointWriter writer, CheckpointPlan plan, Predicate<String> comesLater, int threads) {
        this.writer = writer;
        this.plan = plan;
        this.comesLater = comesLater;
        this.checks = new ParallelChecks(writer.workDirectory(), threads);
    }

    /** Writes the source's tensors outside the blocks; any time before the rest. */
    public void writeOutside() {
        plan.outside().stream().filter(view -> !comesLater.test(view.name()))
                .forEach(view -> writer.write(view.name(), view.data()));
        outsideWritten = true;
        writer.sync();
    }

    /** Writes all tensors of a block's record: its packed linears, and any others that replace the source's. */
    public void write(BlockRecord block) {
        fingerprints.putAll(block.fingerprints());
        try (SafetensorsFile file = block.part().open()) {
            for (TensorView view : file.tensors().values()) {
                if (comesLater.test(view.name())) {
                    continue;
                }
                write(view);
                if (plan.keeps(view.name())) {
                    replaced.put(view.name(), Fingerprint.of(view.data()));
                }
            }
        }
        writer.sync();
        readBack(block);
    }

    /** Unpacks the linears of a block that was written, but for those that something later belongs to. */
    private void readBack(BlockRecord block) {
        List<String> modules = block.fingerprints().keySet().stream().filter(module -> Arrays
                .stream(PackedPart.values()).noneMatch(part -> comesLater.test(module + part.suffix()))).toList();
        try (WrittenTensors written = writer.readBack()) {
            checks.run(modules.stream().<Runnable>map(module -> () -> requireSolved(module,
                    PackedLinearReader.read(module, written.tensors(), plan.quantization()))).toList());
        }
    }

    private void requireSolved(String module, PackedLinear packed) {
        Long solved = fingerprints.get(module);
        if (solved == null || Fingerprint.of(packed) != solved) {
            throw damaged(module);
        }
        checked.put(module, PackedChecksum.of(packed));
        scales.put(module, ScaleCount.of(packed.scales()));
    }

    /** Writes the tensors learned later; after all blocks. */
    public void write(TunedParameters tuned) {
        tuned.fingerprints().forEach((name, value) -> (plan.keeps(name) ? replaced : fingerprints).put(name, value));
        try (SafetensorsFile file = tuned.open()) {
            file.tensors().values().forEach(this::write);
        }
    }

    /** Writes a recorded tensor: in the checkpoint's format, where it is a part of a linear. */
    private void write(TensorView recorded) {
        List<StoredTensor> stored = plan.stored().get(recorded.name());
        if (stored == null) {
            if (plan.keeps(recorded.name())) {
                writer.write(recorded.name(), recorded.data());
            }
            return; // the format has no tensor for it: zero points of a symmetric grid, groups that follow each other
        }
        for (StoredTensor tensor : stored) {
            if (tensor.isSame()) {
                writer.write(tensor.spec().name(), recorded.data());
            } else {
                try (Arena arena = Arena.ofConfined()) {
                    MemorySegment bytes = arena.allocate(tensor.spec().bytes(), Long.BYTES);
                    recorded.reading(() -> tensor.encode().apply(recorded.data(), bytes));
                    writer.write(tensor.spec().name(), bytes);
                }
            }
        }
    }

    /** Writes the remaining tensors of the source; after all blocks. */
    public void writeKept() {
        if (!outsideWritten) {
            writeOutside();
        }
        plan.kept().stream().filter(view -> !plan.outside().contains(view) && !replaced.containsKey(view.name()))
                .forEach(view -> writer.write(view.name(), view.data()));
    }

    /**
     * Compares what is on disk with the source and with the solver's integers; throws UserError OUTPUT naming the first
     * difference.
     *
     * @return the scales of each linear, by module
     */
    public SortedMap<String, ScaleCount> verify(ModelDirectory written) {
        List<Runnable> all = new ArrayList<>();
        plan.kept().forEach(view -> all.add(() -> verify(view, written)));
        plan.linears().keySet().forEach(module -> all.add(() -> verify(module, written)));
        checks.run(all);
        return scales;
    }

    private void verify(TensorView source, ModelDirectory directory) {
        TensorView found = directory.tensor(source.name());
        Long expected = replaced.get(source.name());
        if (expected == null
                ? source.data().mismatch(found.data()) >= 0
                : Fingerprint.of(found.data()) != expected) {
            throw damaged(source.name());
        }
    }

    private void verify(String module, ModelDirectory directory) {
        PackedLinear packed = directory.packed(module).orElseThrow(() -> damaged(module));
        PackedChecksum before = checked.get(module);
        if (before == null) {
            requireSolved(module, packed);
        } else if (!before.equals(PackedChecksum.of(packed))) {
            throw damaged(module);
        }
    }

    private UserError damaged(String name) {
        return OutputFiles.damaged(writer.workDirectory(), name);
    }
}
