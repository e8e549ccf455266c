package dev.optgptq.cli.inspect;

import dev.optgptq.formats.safetensors.TensorView;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Tensors that differ only in the number of their block.
 *
 * @param name with "*" for the number
 * @param shape for people: "[384, 1024]"
 * @param bytes of all of them
 */
public record TensorGroup(String name, int count, String dtype, String shape, long bytes) {

    private static final Pattern NUMBER = Pattern.compile("(?<=\\.)\\d+(?=\\.)");

    /** In the order of the tensors. */
    static List<TensorGroup> fold(Collection<TensorView> tensors) {
        Map<List<String>, TensorGroup> groups = new LinkedHashMap<>();
        for (TensorView view : tensors) {
            String name = NUMBER.matcher(view.name()).replaceAll("*");
            List<String> key = List.of(name, view.dtype().name(), view.shape().toString());
            groups.merge(key, new TensorGroup(name, 1, key.get(1), key.get(2), view.data().byteSize()),
                    TensorGroup::plus);
        }
        return new ArrayList<>(groups.values());
    }

    private TensorGroup plus(TensorGroup other) {
        return new TensorGroup(name, count + other.count, dtype, shape, bytes + other.bytes);
    }
}
