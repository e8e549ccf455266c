package dev.optgptq.formats.model;

import dev.optgptq.formats.safetensors.TensorSpec;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.SequencedMap;

/**
 * Which tensor goes to which file.
 *
 * @param shards at least one
 */
record ShardPlan(List<Shard> shards) {

    /** One file and its tensors. */
    record Shard(String fileName, List<TensorSpec> tensors) {}

    /**
     * Fills shards in the given order; a tensor larger than the limit has one to itself. One shard is model.safetensors,
     * several are numbered as other tools do.
     */
    static ShardPlan of(List<TensorSpec> tensors, long maxShardBytes) {
        List<List<TensorSpec>> parts = new ArrayList<>();
        parts.add(new ArrayList<>());
        long filled = 0;
        for (TensorSpec tensor : tensors) {
            if (!parts.getLast().isEmpty() && filled + tensor.bytes() > maxShardBytes) {
                parts.add(new ArrayList<>());
                filled = 0;
            }
            parts.getLast().add(tensor);
            filled += tensor.bytes();
        }
        List<Shard> shards = new ArrayList<>();
        for (int i = 0; i < parts.size(); i++) {
            shards.add(new Shard(fileName(i + 1, parts.size()), List.copyOf(parts.get(i))));
        }
        return new ShardPlan(List.copyOf(shards));
    }

    long totalBytes() {
        return shards.stream().flatMap(shard -> shard.tensors().stream()).mapToLong(TensorSpec::bytes).sum();
    }

    ShardIndex index() {
        SequencedMap<String, String> shardOf = new LinkedHashMap<>();
        shards.forEach(shard -> shard.tensors().forEach(tensor -> shardOf.put(tensor.name(), shard.fileName())));
        return new ShardIndex(shardOf);
    }

    private static String fileName(int number, int count) {
        return count == 1
                ? WeightFiles.SINGLE_FILE
                : String.format(Locale.ROOT, "model-%05d-of-%05d.safetensors", number, count);
    }
}
