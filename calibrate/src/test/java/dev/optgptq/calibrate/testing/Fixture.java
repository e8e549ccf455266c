package dev.optgptq.calibrate.testing;

import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorView;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.lang.foreign.ValueLayout;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.function.Consumer;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Tiny random models with the logits that Hugging Face transformers computes from them, in float32. */
public final class Fixture {

    public static final String LLAMA = "llama-mha";
    public static final String LLAMA_GQA = "llama-gqa-rope-llama3";
    public static final String MPT = "mpt";

    private static final JsonMapper JSON = new JsonMapper();

    private Fixture() {}

    public static Path directory(String name) {
        try {
            return Path.of(Objects.requireNonNull(Fixture.class.getResource("/fixtures/" + name)).toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    /** A copy of a fixture in a new folder, with another config.json. */
    public static Path copy(String name, Path folder, Consumer<ObjectNode> change) {
        try {
            Files.createDirectories(folder);
            Path weights = folder.resolve("model.safetensors");
            Files.copy(directory(name).resolve("model.safetensors"), weights);
            ObjectNode config = (ObjectNode) JSON.readTree(Files.readString(directory(name).resolve("config.json")));
            change.accept(config);
            Files.writeString(folder.resolve("config.json"), JSON.writeValueAsString(config));
            return folder;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Overwrites two bytes of a tensor on disk. */
    public static void damage(Path folder, String tensor, long at, short bits) {
        try (RandomAccessFile file = new RandomAccessFile(folder.resolve("model.safetensors").toFile(), "rw")) {
            byte[] length = new byte[Long.BYTES];
            file.readFully(length);
            byte[] header = new byte[(int) ByteBuffer.wrap(length).order(ByteOrder.LITTLE_ENDIAN).getLong()];
            file.readFully(header);
            JsonNode entry = JSON.readTree(new String(header, StandardCharsets.UTF_8)).get(tensor);
            file.seek(Long.BYTES + header.length + entry.get("data_offsets").get(0).longValue() + at);
            file.write(new byte[] {(byte) bits, (byte) (bits >> Byte.SIZE)});
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** float32 [2, 48, vocabulary], flattened. */
    public static float[] goldenLogits(String name) {
        try (SafetensorsFile golden = SafetensorsFile.open(golden(name))) {
            return floats(Objects.requireNonNull(golden.tensors().get("logits")));
        }
    }

    /** The file with "input_ids" int64 [2, 48]. */
    public static Path golden(String name) {
        return directory(name).resolve("golden.safetensors");
    }

    /** The file with the loss's gradient for every parameter, and "loss": the mean over both sequences, in float32. */
    public static Path goldenGradients(String name) {
        return directory(name).resolve("golden-gradients.safetensors");
    }

    public static float[] floats(TensorView view) {
        float[] values = new float[(int) view.shape().elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = view.data().getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i);
        }
        return values;
    }
}
