package dev.optgptq.gptq.journal;

import dev.optgptq.formats.safetensors.SafetensorsWriter;
import java.lang.foreign.MemorySegment;
import tools.jackson.databind.node.ObjectNode;

/**
 * Writes a part. Nothing of it counts before finish(); from then on it survives whatever ends the process. Failures to
 * write are UserError OUTPUT.
 */
public final class PartWriter implements AutoCloseable {

    private final Journal journal;
    private final String name;
    private final SafetensorsWriter tensors;

    PartWriter(Journal journal, String name, SafetensorsWriter tensors) {
        this.journal = journal;
        this.name = name;
        this.tensors = tensors;
    }

    /** Writes one of the planned tensors; as in SafetensorsWriter. */
    public void write(String tensor, MemorySegment data) {
        tensors.write(tensor, data);
    }

    /** Syncs everything to the disk; every planned tensor was written. An earlier part of that name is replaced. */
    public Part finish(ObjectNode note) {
        return journal.finish(name, tensors, note);
    }

    /** Without finish() nothing is left. */
    @Override
    public void close() {
        tensors.close();
    }
}
