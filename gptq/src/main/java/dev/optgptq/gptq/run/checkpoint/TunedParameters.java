package dev.optgptq.gptq.run.checkpoint;

import java.util.stream.Collectors;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.gptq.journal.Journal;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.journal.PartWriter;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.run.progress.PhaseClock;
import dev.optgptq.gptq.tune.TunedSink;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Predicate;
import tools.jackson.databind.node.ObjectNode;

/**
 * The scales of all linears, and the norms if they are tuned, learned together after the blocks were finished: they
 * replace the scales of the blocks' records, and the source's norms.
 *
 * @param part "MODULE.scales" in GPTQ layout, and "NORM.weight"
 */
public record TunedParameters(Part part) {

    /** No tensors. */
    public static final Predicate<String> NONE = tensor -> false;

    private static final String NAME = "tuned-parameters";
    private static final String OUTCOME = "outcome";
    private static final String SUFFIX = PackedPart.SCALES.suffix();

    public static Optional<TunedParameters> find(Journal journal) {
        return journal.find(NAME).map(TunedParameters::new);
    }

    /**
     * Records them.
     *
     * @param specs of the scales of every linear, and of the norms that are learned
     * @param packed a linear as its block has it, by module
     * @param tuner provides the learned parameters and the outcome of the step
     */
    public static TunedParameters record(Journal journal, List<TensorSpec> specs, Function<String, PackedLinear> packed,
            Function<TunedSink, StepOutcome> tuner, PhaseClock clock) {
        Map<String, Long> fingerprints = new LinkedHashMap<>();
        try (PartWriter writer = journal.begin(NAME, specs)) {
            StepOutcome outcome = tuner.apply(new TunedSink() {
                @Override
                public void scales(LinearSpec linear, MemorySegment scales) {
                    writer.write(linear.module() + SUFFIX, scales);
                    fingerprints.put(linear.module(), Fingerprint.of(packed.apply(linear.module()).withScales(scales)));
                }

                @Override
                public void norm(String tensor, MemorySegment values) {
                    writer.write(tensor, values);
                    fingerprints.put(tensor, Fingerprint.of(values));
                }
            });
            ObjectNode note = Notes.withPhases(clock.phases());
            note.set(OUTCOME, Notes.toJson(List.of(outcome)));
            Notes.putFingerprints(note, fingerprints);
            return new TunedParameters(writer.finish(note));
        }
    }

    /** Which of a checkpoint's tensors are learned over the whole model: none where nothing is learned. */
    public static Predicate<String> tensors(ModelSpec model, Refinement refinement) {
        if (refinement.tuneSteps() == 0) {
            return NONE;
        }
        Set<String> norms = refinement.tuneNorms()
                ? model.normTensors().stream().map(NormSpec.Stored::tensor).collect(Collectors.toSet())
                : Set.of();
        return tensor -> tensor.endsWith(SUFFIX) || norms.contains(tensor);
    }

    public StepOutcome outcome() {
        return Notes.list(part.note().path(OUTCOME), StepOutcome.class).getFirst();
    }

    /** Fingerprints of the integers of each linear with its new scales, by module, and of each norm, by tensor. */
    Map<String, Long> fingerprints() {
        return Notes.fingerprints(part.note());
    }

    SafetensorsFile open() {
        return part.open();
    }
}
