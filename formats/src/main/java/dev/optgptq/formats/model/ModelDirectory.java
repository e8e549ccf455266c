package dev.optgptq.formats.model;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.files.InputFiles;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedLinearReader;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.formats.scaled.ScaledFormat;
import dev.optgptq.formats.scaled.ScaledTensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A Hugging Face model directory, opened: config.json, and every tensor of model.safetensors or of the shards that
 * model.safetensors.index.json lists. Everything is validated on opening; weights stay mapped.
 */
public final class ModelDirectory implements AutoCloseable {

    static final String CONFIG_FILE = "config.json";
    private static final String QUANTIZATION_KEY = "quantization_config";
    /** Where mlx-lm keeps it. */
    private static final String MLX_KEY = "quantization";
    /** Where AutoGPTQ and its successors keep the quantization_config, alone or as a second copy. */
    static final String QUANTIZATION_FILE = "quantize_config.json";

    private final Path path;
    private final ModelConfig config;
    private final SequencedMap<String, TensorView> tensors;
    private final Supplier<List<Companion>> companions;
    private final Runnable onClose;
    /** Once it is known: it is asked for with every module. */
    private volatile @Nullable Packing packing;

    private ModelDirectory(Path path, ModelConfig config, SequencedMap<String, TensorView> tensors,
            Supplier<List<Companion>> companions, Runnable onClose) {
        this.path = path;
        this.config = config;
        this.tensors = tensors;
        this.companions = companions;
        this.onClose = onClose;
    }

    /** Opens and validates a model directory; throws UserError BAD_MODEL naming what is wrong and where. */
    public static ModelDirectory open(Path directory) {
        if (!Files.isDirectory(directory)) {
            throw new UserError(Code.BAD_MODEL, directory + ": expected a model directory with config.json and"
                    + " safetensors files, found " + what(directory) + "; check the path");
        }
        ModelConfig config = ModelConfig.read(directory.resolve(CONFIG_FILE));
        WeightFiles weights = WeightFiles.open(directory);
        return new ModelDirectory(directory, config, weights.tensors(), () -> Companions.in(directory),
                weights::close);
    }

    private static String what(Path path) {
        if (Files.exists(path)) {
            return "a file";
        }
        return Files.isSymbolicLink(path)
                ? "a link to " + InputFiles.linkTarget(path, Code.BAD_MODEL) + ", which is not there"
                : "nothing";
    }

    /**
     * A model in memory without a directory, for benchmarks. It has no companions, and its tensors are trusted.
     *
     * @param path stands for it in messages
     * @param tensors by name, in the order of a file; their memory outlives it
     */
    public static ModelDirectory inMemory(Path path, ModelConfig config, SequencedMap<String, TensorView> tensors) {
        return new ModelDirectory(path, config, Collections.unmodifiableSequencedMap(new LinkedHashMap<>(tensors)),
                List::of, () -> {});
    }

    public Path path() {
        return path;
    }

    public ModelConfig config() {
        return config;
    }

    /** Every tensor by name; order: files by name, then the order of the data. */
    public SequencedMap<String, TensorView> tensors() {
        return tensors;
    }

    /** The tensor of that name; throws UserError BAD_MODEL naming the tensor and the directory when it is missing. */
    public TensorView tensor(String name) {
        TensorView tensor = tensors().get(name);
        if (tensor == null) {
            throw new UserError(Code.BAD_MODEL, path + ": expected tensor '" + name + "', found no such tensor among "
                    + tensors().size()
                    + "; config.json and the weights are not of the same model, or a file is missing");
        }
        return tensor;
    }

    /**
     * The quantization of the checkpoint, from config.json or quantize_config.json; empty for a plain model. Where both
     * have it config.json counts, as for other loaders. The tensors decide: a GPTQ block left beside plain weights is
     * ignored. Empty as well where weights are small floats with scales: see scaled(). Throws UserError BAD_MODEL for a
     * damaged block, and UNSUPPORTED_MODEL for an unsupported method or form: runtimes would act on it whatever the
     * tensors are.
     */
    public Optional<QuantizationConfig> quantization() {
        Packing known = packing;
        if (known == null) {
            known = new Packing(readQuantization());
            packing = known;
        }
        return known.quantization;
    }

    private Optional<QuantizationConfig> readQuantization() {
        boolean packed = tensors.keySet().stream().anyMatch(CheckpointFormat::isPart);
        if (config.has(MLX_KEY)) {
            // mlx-lm looks there first, and takes modules without scales as plain.
            QuantizationConfig mlx = QuantizationConfig.fromMlx(config.at(MLX_KEY), config.file() + ", " + MLX_KEY);
            return packed ? Optional.of(mlx) : Optional.empty();
        }
        if (config.has(QUANTIZATION_KEY)) {
            String origin = config.file() + ", " + QUANTIZATION_KEY;
            if (!packed) {
                if (scaledFormat().isEmpty()) {
                    QuantizationConfig.requireMethod(config.at(QUANTIZATION_KEY), origin);
                }
                return Optional.empty();
            }
            return Optional.of(QuantizationConfig.fromJson(config.at(QUANTIZATION_KEY), origin));
        }
        Path file = path.resolve(QUANTIZATION_FILE);
        return packed && InputFiles.isThere(file)
                ? Optional.of(QuantizationConfig.fromJson(Json.readObject(file, Code.BAD_MODEL), file.toString()))
                : Optional.empty();
    }

    /**
     * How weights are stored, where config.json says that they are small floats with a scale for each block; throws UserError
     * UNSUPPORTED_MODEL for a form of that which is not read.
     */
    public Optional<ScaledFormat> scaledFormat() {
        return ScaledFormat.of(config.at(QUANTIZATION_KEY), config.file() + ", " + QUANTIZATION_KEY);
    }

    /** Weights of all tensors, packed and small ones counted as what they decode to. */
    public long parameters() {
        return ParameterCount.of(tensors, quantization().orElse(null), scaledFormat().orElse(null));
    }

    /** The modules that are packed, in the order of their codes' tensors. */
    public List<String> packedModules() {
        Optional<CheckpointFormat> format = quantization().map(QuantizationConfig::format);
        return tensors.values().stream().flatMap(view -> format.flatMap(known -> known.module(view)).stream()).toList();
    }

    /** The tensor of that name where it is stored so; empty where it is plain, or not there. */
    public Optional<ScaledTensor> scaled(String name) {
        return scaledFormat().flatMap(format -> format.find(name, tensors));
    }

    /**
     * The packed linear of a module ("model.layers.0.mlp.up_proj") in GPTQ layout, shapes and contents checked; empty when the
     * module has a plain weight. Of other layouts it is a copy.
     */
    public Optional<PackedLinear> packed(String module) {
        return packing(module).map(quantization -> PackedLinearReader.read(module, tensors(), quantization));
    }

    /** The sizes of a packed linear, which is checked as packed() does it, without a copy; empty for a plain weight. */
    public Optional<PackedLayout> packedLayout(String module) {
        return packing(module).map(quantization -> PackedLinearReader.check(module, tensors(), quantization));
    }

    /** @param quantization empty for a plain model */
    private record Packing(Optional<QuantizationConfig> quantization) {}

    /** How a module is packed; empty when it has a plain weight. */
    private Optional<QuantizationConfig> packing(String module) {
        Optional<QuantizationConfig> quantization = quantization();
        if (quantization.isEmpty()) {
            refusePacked(QUANTIZATION_KEY, module + PackedPart.CODES.suffix());
            refusePacked(MLX_KEY, module + ".biases");
        }
        return quantization.filter(found -> found.format().holds(module, tensors()));
    }

    private void refusePacked(String key, String part) {
        if (tensors().containsKey(part)) {
            throw new UserError(Code.BAD_MODEL, config.file() + ": expected a " + key + ", because tensor '" + part
                    + "' is there, found none; fetch config.json again");
        }
    }

    /**
     * The files beside the weights, in folders too: tokenizer, generation config, chat templates, remote code, licence.
     * Throws UserError BAD_MODEL naming a link that is dangling or leads out of the model's repository.
     */
    public List<Companion> companions() {
        return companions.get();
    }

    /** Unmaps the weights; every TensorView and PackedLinear of this model becomes unusable. */
    @Override
    public void close() {
        onClose.run();
    }
}
