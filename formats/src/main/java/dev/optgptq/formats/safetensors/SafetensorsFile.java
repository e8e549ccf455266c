package dev.optgptq.formats.safetensors;

import java.nio.file.Path;
import java.util.Map;
import java.util.SequencedMap;

/** A safetensors file, mapped into memory whole (one segment of any size) and never read as a whole. */
public final class SafetensorsFile implements AutoCloseable {

    private SafetensorsFile() {}

    /** Opens and validates a file; throws UserError BAD_MODEL naming what is wrong. */
    public static SafetensorsFile open(Path path) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** The tensors by name, in the order of their data. */
    public SequencedMap<String, TensorView> tensors() {
        throw new UnsupportedOperationException("not written yet");
    }

    /** The entries of __metadata__, empty when there are none. */
    public Map<String, String> metadata() {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException("not written yet");
    }
}
