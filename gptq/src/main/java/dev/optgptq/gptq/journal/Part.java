package dev.optgptq.gptq.journal;

import dev.optgptq.formats.safetensors.SafetensorsFile;
import java.nio.file.Path;
import tools.jackson.databind.node.ObjectNode;

/**
 * A finished piece of work: tensors and a note about them. Its checksum was verified.
 *
 * @param name unique in its journal
 * @param tensors a safetensors file
 * @param note the note that its writer gave
 */
public record Part(String name, Path tensors, ObjectNode note) {

    /** Maps the tensors; the caller closes it. */
    public SafetensorsFile open() {
        return SafetensorsFile.open(tensors);
    }
}
