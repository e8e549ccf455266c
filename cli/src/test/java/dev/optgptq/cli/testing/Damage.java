package dev.optgptq.cli.testing;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Breaks a copy of a model directory in one place. */
public final class Damage {

    private static final String WEIGHTS = "model.safetensors";
    private static final short BFLOAT16_NAN = 0x7FC0;

    private Damage() {}

    public static void delete(Path model, String file) {
        unchecked(() -> Files.deleteIfExists(model.resolve(file)));
    }

    public static void write(Path model, String file, String text) {
        unchecked(() -> Files.writeString(model.resolve(file), text));
    }

    /** Replaces text in a file, which must hold it. */
    public static void replace(Path model, String file, String from, String to) {
        unchecked(() -> {
            String text = Files.readString(model.resolve(file));
            if (!text.contains(from)) {
                throw new AssertionError("no " + from + " in " + file);
            }
            return Files.writeString(model.resolve(file), text.replace(from, to));
        });
    }

    /** Cuts the weights' file to half of its length. */
    public static void truncateWeights(Path model) {
        unchecked(() -> {
            byte[] bytes = Files.readAllBytes(model.resolve(WEIGHTS));
            return Files.write(model.resolve(WEIGHTS), Arrays.copyOf(bytes, bytes.length / 2));
        });
    }

    /** Makes the header claim to be longer than the file. */
    public static void lengthenHeader(Path model) {
        unchecked(() -> {
            byte[] bytes = Files.readAllBytes(model.resolve(WEIGHTS));
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(0, bytes.length);
            return Files.write(model.resolve(WEIGHTS), bytes);
        });
    }

    /** Writes NaN over one bfloat16 of a tensor. */
    public static void plantNan(Path model, String tensor) {
        unchecked(() -> {
            byte[] bytes = Files.readAllBytes(model.resolve(WEIGHTS));
            ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
            int data = Math.toIntExact(8 + buffer.getLong(0));
            long start = header(bytes).at("/" + tensor + "/data_offsets/0").asLong();
            buffer.putShort(Math.toIntExact(data + start + 2 * 17), BFLOAT16_NAN);
            return Files.write(model.resolve(WEIGHTS), bytes);
        });
    }

    /** Says that the weights lie in two shards, of which only the first is there. */
    public static void loseShard(Path model) {
        unchecked(() -> {
            String first = "model-00001-of-00002.safetensors";
            byte[] bytes = Files.readAllBytes(model.resolve(WEIGHTS));
            ObjectNode index = JsonMapper.shared().createObjectNode();
            ObjectNode map = index.putObject("weight_map");
            header(bytes).propertyNames().stream().filter(name -> !name.equals("__metadata__"))
                    .forEach(name -> map.put(name, first));
            map.put("lm_head.weight", "model-00002-of-00002.safetensors");
            Files.move(model.resolve(WEIGHTS), model.resolve(first));
            return Files.writeString(model.resolve("model.safetensors.index.json"), index.toString());
        });
    }

    private static ObjectNode header(byte[] bytes) {
        int length = Math.toIntExact(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong(0));
        return (ObjectNode) JsonMapper.shared().readTree(new String(bytes, 8, length, StandardCharsets.UTF_8));
    }

    private static void unchecked(Step step) {
        try {
            step.run();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private interface Step {

        Object run() throws IOException;
    }
}
