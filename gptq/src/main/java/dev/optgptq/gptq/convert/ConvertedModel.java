package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.formats.files.OutputFiles;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.journal.Part;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;
import java.util.stream.Collectors;
import tools.jackson.databind.node.ObjectNode;

/**
 * A converted model before it is written: the source's tensors in their order, replaced by those of finished parts.
 */
final class ConvertedModel implements AutoCloseable {

    private final ModelDirectory source;
    private final ObjectNode config;
    private final SequencedMap<String, TensorView> tensors = new LinkedHashMap<>();
    private final List<SafetensorsFile> files = new ArrayList<>();

    /** @param parts later ones take precedence */
    ConvertedModel(ModelDirectory source, ObjectNode config, List<Part> parts) {
        this.source = source;
        this.config = config;
        try {
            tensors.putAll(source.tensors());
            parts.forEach(this::replace);
            leaveOut();
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    private void replace(Part part) {
        SafetensorsFile file = part.open();
        files.add(file);
        tensors.putAll(file.tensors());
    }

    /** What only the source has: norms of key heads, each with a tensor of its own. */
    private void leaveOut() {
        Set<String> kept = ModelSpec.resolve(new ModelConfig(config, source.config().file())).normTensors().stream()
                .map(NormSpec.Stored::tensor).collect(Collectors.toSet());
        ModelSpec.resolve(source).normTensors().stream().map(NormSpec.Stored::tensor)
                .filter(name -> !kept.contains(name)).forEach(tensors::remove);
    }

    ObjectNode config() {
        return config;
    }

    SequencedMap<String, TensorView> tensors() {
        return tensors;
    }

    /** How they will be stored. */
    List<TensorSpec> specs() {
        return tensors.values().stream().map(view -> new TensorSpec(view.name(), view.dtype(), view.shape())).toList();
    }

    /** The model as if written; valid until this is closed. */
    ModelDirectory directory() {
        return ModelDirectory.inMemory(source.path(), new ModelConfig(config, source.config().file()), tensors);
    }

    void write(CheckpointWriter writer) {
        tensors.values().forEach(view -> writer.write(view.name(), view.data()));
    }

    /** Compares what is on disk; UserError OUTPUT names the first difference. */
    void verify(ModelDirectory written) {
        for (TensorView expected : tensors.values()) {
            if (expected.data().mismatch(written.tensor(expected.name()).data()) >= 0) {
                throw OutputFiles.damaged(written.path(), expected.name());
            }
        }
    }

    @Override
    public void close() {
        files.forEach(SafetensorsFile::close);
    }
}
