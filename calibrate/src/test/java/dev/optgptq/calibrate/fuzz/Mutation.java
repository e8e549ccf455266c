package dev.optgptq.calibrate.fuzz;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** Makes a wrong file of a right one, the same for the same seed. */
final class Mutation {

    private static final JsonMapper JSON = JsonMapper.shared();
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
    private static final List<String> TEXTS = List.of("", " ", "\u0000", "\uD800", "\u001b[2J", "../../etc/passwd",
            "float16",
            "default", "gptq", "BPE", "Replace", "(a+)+$", "([", "\\p{L}+", "a", "aa", "\u0120", "model.safetensors",
            "e\u0301", "\uFFFF", "x".repeat(5000));

    private final Random random;

    Mutation(long seed) {
        this.random = new Random(seed);
    }

    /** A document with one to four changes of its structure, and now and then of its bytes. */
    byte[] ofJson(String document) {
        JsonNode json = JSON.readTree(document);
        for (int change = 1 + random.nextInt(4); change > 0; change--) {
            json = changed(json);
        }
        byte[] bytes = json.toString().getBytes(StandardCharsets.UTF_8);
        return random.nextInt(4) == 0 ? ofBytes(bytes) : bytes;
    }

    /** One to four changes of bytes. */
    byte[] ofBytes(byte[] original) {
        byte[] bytes = original.clone();
        for (int change = 1 + random.nextInt(4); change > 0 && bytes.length > 0; change--) {
            int at = random.nextInt(bytes.length);
            switch (random.nextInt(5)) {
                case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
                case 1 -> bytes[at] = (byte) random.nextInt(256);
                case 2 -> bytes = Arrays.copyOf(bytes, at);
                case 3 -> bytes = spliced(bytes, at, random.nextInt(Math.min(64, bytes.length - at) + 1));
                default ->
                    Arrays.fill(bytes, at, Math.min(bytes.length, at + 8), (byte) (random.nextBoolean() ? 0 : -1));
            }
        }
        return bytes;
    }

    /** A piece of the bytes repeated, or left out. */
    private byte[] spliced(byte[] bytes, int at, int length) {
        boolean twice = random.nextBoolean();
        byte[] result = new byte[bytes.length + (twice ? length : -length)];
        System.arraycopy(bytes, 0, result, 0, at);
        if (twice) {
            System.arraycopy(bytes, at, result, at, length);
            System.arraycopy(bytes, at, result, at + length, bytes.length - at);
        } else {
            System.arraycopy(bytes, at + length, result, at, bytes.length - at - length);
        }
        return result;
    }

    private JsonNode changed(JsonNode json) {
        List<JsonNode> containers = new ArrayList<>();
        collect(json, containers);
        if (containers.isEmpty() || random.nextInt(50) == 0) {
            return value(0);
        }
        JsonNode container = containers.get(random.nextInt(containers.size()));
        if (container instanceof ObjectNode object && !object.isEmpty()) {
            List<String> keys = List.copyOf(object.propertyNames());
            String key = keys.get(random.nextInt(keys.size()));
            if (random.nextInt(5) == 0) {
                object.remove(key);
            } else if (random.nextInt(5) == 0) {
                object.set(text(), object.path(key));
            } else {
                object.set(key, random.nextInt(3) == 0 ? other(containers) : value(0));
            }
        } else if (container instanceof ArrayNode array && !array.isEmpty()) {
            int at = random.nextInt(array.size());
            if (random.nextInt(4) == 0) {
                array.remove(at);
            } else {
                array.set(at, random.nextInt(3) == 0 ? other(containers) : value(0));
            }
        }
        return json;
    }

    private static void collect(JsonNode json, List<JsonNode> containers) {
        if (json.isContainer()) {
            containers.add(json);
            json.forEach(child -> collect(child, containers));
        }
    }

    private JsonNode other(List<JsonNode> containers) {
        return containers.get(random.nextInt(containers.size())).deepCopy();
    }

    private JsonNode value(int depth) {
        return switch (random.nextInt(depth > 3 ? 8 : 10)) {
            case 0 -> NODES.nullNode();
            case 1 -> NODES.booleanNode(random.nextBoolean());
            case 2 -> NODES.numberNode(random.nextInt(-3, 130));
            case 3 -> NODES.numberNode(random.nextLong());
            case 4 -> NODES.numberNode(BigInteger.TWO.pow(random.nextInt(200)).negate());
            case 5 -> NODES.numberNode(random.nextBoolean() ? 1e308 : random.nextGaussian());
            case 6, 7 -> NODES.stringNode(text());
            case 8 -> NODES.arrayNode().add(value(depth + 1)).add(value(depth + 1));
            default -> NODES.objectNode().set(text(), value(depth + 1));
        };
    }

    private String text() {
        return TEXTS.get(random.nextInt(TEXTS.size()));
    }
}
