package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedLinearReader;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.gptq.journal.Journal;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.report.RunReport;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import tools.jackson.databind.node.ObjectNode;

/**
 * A finished block: the packed tensors of its linears, and their report entries.
 *
 * @param part tensors of linears in GPTQ layout; others stand for the source's
 */
public record BlockRecord(Part part) {

    private static final String PREFIX = "block-";
    private static final String LAYERS = "layers";
    private static final String STEPS = "steps";

    /** Name of the part that holds a block. */
    public static String name(int block) {
        return String.format(Locale.ROOT, "%s%05d", PREFIX, block);
    }

    public static boolean isName(String part) {
        return part.startsWith(PREFIX);
    }

    /**
     * The leading blocks of a model that are finished and undamaged. A block after a damaged one may be sound, but its
     * inputs depend on the damaged one; all blocks after it are deleted.
     */
    public static List<BlockRecord> sound(Journal journal, int blocks) {
        List<BlockRecord> sound = new ArrayList<>();
        Optional<Part> next = journal.find(name(0));
        while (next.isPresent() && sound.size() < blocks) {
            sound.add(new BlockRecord(next.get()));
            next = journal.find(name(sound.size()));
        }
        journal.names().stream().filter(BlockRecord::isName).filter(part -> part.compareTo(name(sound.size())) >= 0)
                .forEach(journal::remove);
        return sound;
    }

    /** The note beside the tensors. */
    public static ObjectNode note(List<RunReport.Layer> layers, Map<String, Long> fingerprints,
            List<RunReport.Phase> phases, List<StepOutcome> steps) {
        ObjectNode note = Notes.withPhases(phases);
        note.set(LAYERS, Notes.toJson(layers));
        note.set(STEPS, Notes.toJson(steps));
        Notes.putFingerprints(note, fingerprints);
        return note;
    }

    public List<RunReport.Layer> layers() {
        return Notes.list(part.note().path(LAYERS), RunReport.Layer.class);
    }

    /** Outcomes of its refinement steps; empty if it was not refined. */
    public List<StepOutcome> steps() {
        return Notes.list(part.note().path(STEPS), StepOutcome.class);
    }

    /** Fingerprints of the integers of each linear, by module. */
    Map<String, Long> fingerprints() {
        return Notes.fingerprints(part.note());
    }

    /**
     * Gives the loaded block of the source its quantized weights; those of streamed experts are read from the part as they are
     * needed.
     *
     * @param also receives each linear, in forward order; its bytes are valid during the call
     * @param use runs with them
     */
    public void restored(BlockWeights block, LinearPacker packer, Consumer<PackedLinear> also, Runnable use) {
        try (SafetensorsFile file = part.open()) {
            List<LinearSpec> quantized = block.linears().stream()
                    .filter(linear -> file.tensors().containsKey(linear.module() + PackedPart.CODES.suffix())).toList();
            if (file.tensors().size() != PackedPart.values().length * quantized.size()) {
                throw new IllegalStateException(part.tensors() + " holds other tensors than those of linears, whose "
                        + "effect on the next block is not known here: " + file.tensors().keySet());
            }
            for (LinearSpec linear : quantized) {
                PackedLinear found = PackedLinearReader.read(linear.module(), file.tensors(), packer.config());
                also.accept(found);
                packer.overwrite(block, linear, found);
            }
            use.run();
        }
    }
}
