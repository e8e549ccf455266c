package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.gptq.journal.Journal;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.journal.PartWriter;
import dev.optgptq.gptq.refine.StepOutcome;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiConsumer;
import java.util.function.Function;
import tools.jackson.databind.node.ObjectNode;

/**
 * The scales of all linears as they were learned together, after their blocks were finished: they replace those of the
 * blocks' records.
 *
 * @param part named as in the checkpoint, "MODULE.scales"
 */
record TunedScales(Part part) {

    private static final String NAME = "tuned-scales";
    private static final String OUTCOME = "outcome";
    private static final String SUFFIX = ".scales";

    static Optional<TunedScales> find(Journal journal) {
        return journal.find(NAME).map(TunedScales::new);
    }

    /**
     * Records them.
     *
     * @param specs of the scales of every linear
     * @param packed a linear as its block has it, by module
     * @param tuner hands out the scales, and says what that bought
     */
    static TunedScales record(Journal journal, List<TensorSpec> specs, Function<String, PackedLinear> packed,
            Function<BiConsumer<LinearSpec, MemorySegment>, StepOutcome> tuner, PhaseClock clock) {
        Map<String, Long> fingerprints = new LinkedHashMap<>();
        try (PartWriter writer = journal.begin(NAME, specs)) {
            StepOutcome outcome = tuner.apply((linear, scales) -> {
                writer.write(linear.module() + SUFFIX, scales);
                fingerprints.put(linear.module(),
                        Fingerprint.of(with(packed.apply(linear.module()), scales)));
            });
            ObjectNode note = Notes.withPhases(clock.phases());
            note.set(OUTCOME, Notes.toJson(List.of(outcome)));
            Notes.putFingerprints(note, fingerprints);
            return new TunedScales(writer.finish(note));
        }
    }

    private static PackedLinear with(PackedLinear linear, MemorySegment scales) {
        return new PackedLinear(linear.bits(), linear.inputs(), linear.outputs(), linear.groups(), linear.zeroOffset(),
                linear.qweight(), linear.qzeros(), scales, linear.gIdx());
    }

    static boolean isScales(String tensor) {
        return tensor.endsWith(SUFFIX);
    }

    StepOutcome outcome() {
        return Notes.list(part.note().path(OUTCOME), StepOutcome.class).getFirst();
    }

    /** Of the integers of each linear with its new scales, by module. */
    Map<String, Long> fingerprints() {
        return Notes.fingerprints(part.note());
    }

    SafetensorsFile open() {
        return part.open();
    }
}
