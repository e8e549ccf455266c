package dev.optgptq.gptq.run.resume;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.gptq.journal.Journal;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.journal.PartWriter;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.checkpoint.Notes;
import dev.optgptq.gptq.tune.HeldOutLosses;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ObjectNode;

/**
 * Results computed before the first block, which take as long as many blocks, and after the last one, in the journal;
 * they are small.
 *
 * @param journal where they are
 */
public record SavedResults(Journal journal) {

    private static final String SALIENCY = "saliency";
    private static final String HELD_OUT = "held-out-losses";

    private static double[] numbers(Part part) {
        try (SafetensorsFile file = part.open()) {
            return file.tensors().sequencedValues().getFirst().data().toArray(ValueLayout.JAVA_DOUBLE_UNALIGNED);
        }
    }

    public boolean hasSaliency() {
        return journal.find(SALIENCY).isPresent();
    }

    /** Null if there are none; the caller closes it. */
    @Nullable
    public Saliency saliency(ModelSpec model, TokenSequences calibration, long memoryLimit) {
        Optional<Part> part = journal.find(SALIENCY);
        if (part.isEmpty()) {
            return null;
        }
        try (SafetensorsFile file = part.get().open()) {
            return Saliency.restore(model, calibration.tokens(), file.tensors().sequencedValues().getFirst().data(),
                    memoryLimit);
        }
    }

    public void save(Saliency saliency, TokenSequences calibration, List<RunReport.Phase> phases) {
        MemorySegment values = saliency.values();
        long rows = values.byteSize() / Float.BYTES / calibration.tokens();
        write(SALIENCY, new TensorSpec("saliency", DType.F32, Shape.of(rows, calibration.tokens())), values,
                Notes.withPhases(phases));
    }

    /** Held-out losses of the model with refined blocks; empty if the run ended before they were measured. */
    public Optional<HeldOutLosses> heldOutLosses() {
        return journal.find(HELD_OUT).map(SavedResults::numbers)
                .map(found -> new HeldOutLosses(found[0], found[1], found[2], found[3]));
    }

    public void save(HeldOutLosses losses, List<RunReport.Phase> phases) {
        double[] numbers = {losses.originalCrossEntropy(), losses.crossEntropy(), losses.divergence(),
                losses.plainDivergence()};
        write(HELD_OUT, new TensorSpec("losses", DType.F64, Shape.of(numbers.length)), MemorySegment.ofArray(numbers),
                Notes.withPhases(phases));
    }

    private void write(String name, TensorSpec spec, MemorySegment data, ObjectNode note) {
        try (PartWriter writer = journal.begin(name, List.of(spec))) {
            writer.write(spec.name(), data);
            writer.finish(note);
        }
    }
}
