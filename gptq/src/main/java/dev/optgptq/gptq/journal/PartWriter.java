package dev.optgptq.gptq.journal;

import dev.optgptq.formats.safetensors.SafetensorsWriter;
import java.lang.foreign.MemorySegment;
import tools.jackson.databind.node.ObjectNode;

/**
 * Writes a part. It counts only after finish(); from then on it survives the end of the process. Write failures are
 * UserError OUTPUT.
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

    /** Syncs everything to the disk, once every planned tensor is written. Replaces an earlier part of that name. */
    public Part finish(ObjectNode note) {
        return journal.finish(name, tensors, note);
    }

    /** Without finish() nothing remains on disk. */
    @Override
    public void close() {
        tensors.close();
    }
}
