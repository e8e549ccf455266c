package dev.optgptq.formats.model;

import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorView;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/** The tensors of a checkpoint that is being written, mapped from its files. */
public final class WrittenTensors implements AutoCloseable {

    private final List<SafetensorsFile> files = new ArrayList<>();
    private final SequencedMap<String, TensorView> tensors = new LinkedHashMap<>();

    private WrittenTensors() {}

    static WrittenTensors open(List<Path> files) {
        WrittenTensors written = new WrittenTensors();
        try {
            for (Path path : files) {
                SafetensorsFile file = SafetensorsFile.open(path);
                written.files.add(file);
                written.tensors.putAll(file.tensors());
            }
            return written;
        } catch (RuntimeException | Error e) {
            written.close();
            throw e;
        }
    }

    /** By name. */
    public SequencedMap<String, TensorView> tensors() {
        return Collections.unmodifiableSequencedMap(tensors);
    }

    /** Every TensorView becomes unusable. */
    @Override
    public void close() {
        files.forEach(SafetensorsFile::close);
    }
}
