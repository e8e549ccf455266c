package dev.optgptq.cli.interop;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A random model in float16 as resources describe it: its config.json, and the names and shapes of its tensors. The first {} of a name
 * runs over the blocks, the second over members (experts, heads) of a block.
 */
final class RandomModel {

    private static final JsonMapper JSON = JsonMapper.shared();

    private final JsonNode description;
    private final Random random;

    private RandomModel(JsonNode description, long seed) {
        this.description = description;
        this.random = new Random(seed);
    }

    /** Into a new folder, with a tokenizer of 288 tokens. */
    static Path write(String name, Path folder, long seed) throws IOException {
        try (InputStream in = RandomModel.class.getResourceAsStream("models/" + name + ".json")) {
            RandomModel model = new RandomModel(JSON.readTree(Objects.requireNonNull(in, name)), seed);
            Files.createDirectories(folder);
            Files.writeString(folder.resolve("config.json"), model.description.path("config").toString());
            Files.writeString(folder.resolve("tokenizer.json"), TinyTokenizers.byteLevel());
            model.writeTensors(folder);
            return folder;
        }
    }

    private void writeTensors(Path folder) {
        List<TensorSpec> specs = new ArrayList<>();
        description.path("tensors").propertyStream().forEach(tensor -> {
            long[] shape = tensor.getValue().valueStream().mapToLong(JsonNode::longValue).toArray();
            names(tensor.getKey()).forEach(name -> specs.add(new TensorSpec(name, DType.F16, Shape.of(shape))));
        });
        try (SafetensorsWriter writer = new SafetensorsWriter(folder.resolve("model.safetensors"), specs, Map.of())) {
            specs.forEach(spec -> writer.write(spec.name(), MemorySegment.ofArray(values(spec))));
            writer.finish();
        }
    }

    private List<String> names(String pattern) {
        List<String> names = new ArrayList<>();
        for (int block = 0; block < (pattern.contains("{}") ? description.path("blocks").intValue() : 1); block++) {
            String inBlock = pattern.replaceFirst("\\{}", String.valueOf(block));
            for (int member = 0; member < (inBlock.contains("{}")
                    ? description.path("members").intValue()
                    : 1); member++) {
                names.add(inBlock.replace("{}", String.valueOf(member)));
            }
        }
        return names;
    }

    /** Norms are near the one at which they do nothing, which is 0 where a family adds 1; matrices keep the size of their inputs. */
    private short[] values(TensorSpec spec) {
        boolean norm = spec.shape().rank() == 1 && spec.name().endsWith(".weight");
        boolean plusOne = description.path("config").path("model_type").stringValue().startsWith("gemma");
        // Gemma's norms after its layers are small, so that no layer outweighs the residual stream.
        double mean = norm && !plusOne ? 1 : norm && spec.name().contains(".post_") ? -0.5 : 0;
        double deviation = spec.shape().rank() == 1 ? 0.1 : 1 / Math.sqrt((double) spec.shape().dimension(1));
        short[] values = new short[Math.toIntExact(spec.shape().elements())];
        for (int i = 0; i < values.length; i++) {
            values[i] = Floats.toF16((float) (mean + deviation * random.nextGaussian()));
        }
        return values;
    }
}
