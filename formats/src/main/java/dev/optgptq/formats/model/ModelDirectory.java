package dev.optgptq.formats.model;

import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorView;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * A Hugging Face model directory, opened: config.json, and every tensor of model.safetensors or of the shards that
 * model.safetensors.index.json lists. Everything is validated on opening; weights stay mapped.
 */
public final class ModelDirectory implements AutoCloseable {

    private ModelDirectory() {}

    public static ModelDirectory open(Path directory) {
        throw new UnsupportedOperationException("not written yet");
    }

    public Path path() {
        throw new UnsupportedOperationException("not written yet");
    }

    public ModelConfig config() {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Every tensor by name; order: shards in index order, then the order of the data. */
    public SequencedMap<String, TensorView> tensors() {
        throw new UnsupportedOperationException("not written yet");
    }

    /** The tensor of that name; throws UserError BAD_MODEL naming the tensor and the directory when it is missing. */
    public TensorView tensor(String name) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** The quantization of the checkpoint, from config.json or quantize_config.json; empty for a plain model. */
    public Optional<QuantizationConfig> quantization() {
        throw new UnsupportedOperationException("not written yet");
    }

    /**
     * The packed linear of a module ("model.layers.0.mlp.up_proj"), shapes and contents checked; empty when the module
     * has a plain weight.
     */
    public Optional<PackedLinear> packed(String module) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Files beside the weights that belong to the model: tokenizer, generation config, chat template, remote code. */
    public List<Path> companions() {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException("not written yet");
    }
}
