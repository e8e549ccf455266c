package dev.optgptq.formats.safetensors;

import dev.optgptq.formats.json.Json;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * The layout of a file before a byte of it is written.
 *
 * @param prefix everything before the data: the length, the header, and spaces up to the alignment
 * @param placed the tensors by name, with their places
 */
record HeaderPlan(byte[] prefix, Map<String, Placed> placed) {

    /** The data starts at a multiple of this, so that a mapped file gives vector-aligned tensors. */
    private static final int ALIGNMENT = 64;

    /**
     * A tensor and its place.
     *
     * @param position of its first byte in the file
     */
    record Placed(TensorSpec spec, long position) {}

    /**
     * Lays tensors out without holes, as the format demands, wide elements before narrow ones and else in the given order:
     * every tensor is then aligned to its elements, which PyTorch's reader needs to view bytes as numbers.
     */
    static HeaderPlan of(List<TensorSpec> tensors, Map<String, String> metadata) {
        List<TensorSpec> order = tensors.stream()
                .sorted(Comparator.comparingInt((TensorSpec spec) -> spec.dtype().bytes()).reversed()).toList();
        byte[] prefix = prefix(header(order, metadata));
        Map<String, Placed> placed = new LinkedHashMap<>();
        long position = prefix.length;
        for (TensorSpec spec : order) {
            requireName(spec.name());
            if (placed.put(spec.name(), new Placed(spec, position)) != null) {
                throw new IllegalArgumentException("tensor '" + spec.name() + "' is planned twice");
            }
            position = Math.addExact(position, spec.bytes());
        }
        return new HeaderPlan(prefix, placed);
    }

    /** Of the whole file. */
    long bytes() {
        return placed.values().stream().mapToLong(place -> place.position() + place.spec().bytes()).max()
                .orElse(prefix.length);
    }

    private static ObjectNode header(List<TensorSpec> order, Map<String, String> metadata) {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        if (!metadata.isEmpty()) {
            ObjectNode entries = json.putObject(SafetensorsHeader.METADATA);
            metadata.forEach(entries::put);
        }
        long begin = 0;
        for (TensorSpec spec : order) {
            ObjectNode entry = json.putObject(spec.name());
            entry.put("dtype", spec.dtype().name());
            ArrayNode shape = entry.putArray("shape");
            spec.shape().dimensions().forEach(shape::add);
            long end = Math.addExact(begin, spec.bytes());
            entry.putArray("data_offsets").add(begin).add(end);
            begin = end;
        }
        return json;
    }

    private static byte[] prefix(ObjectNode header) {
        byte[] json = Json.toCompactBytes(header);
        int unpadded = SafetensorsHeader.LENGTH_BYTES + json.length;
        byte[] prefix = new byte[Math.ceilDiv(unpadded, ALIGNMENT) * ALIGNMENT];
        Arrays.fill(prefix, (byte) ' ');
        ByteBuffer.wrap(prefix).order(ByteOrder.LITTLE_ENDIAN)
                .putLong(prefix.length - SafetensorsHeader.LENGTH_BYTES).put(json);
        return prefix;
    }

    private static void requireName(String name) {
        if (name.equals(SafetensorsHeader.METADATA) || !StandardCharsets.UTF_8.newEncoder().canEncode(name)) {
            throw new IllegalArgumentException("'" + name + "' cannot be the name of a tensor");
        }
    }
}
