package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.gptq.allocate.Knapsack;
import dev.optgptq.gptq.convert.layer.LayerCosts;
import dev.optgptq.gptq.convert.layer.Sequences;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.kernels.dense.Dense;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Gives each layer its number of key-value heads under a total: what fewer heads in one layer alone cost the model is measured, and
 * the sum of costs is the least.
 *
 * @param model as heads are to be merged in it
 * @param threads of the host
 */
record HeadChoice(Transformer model, ConvertJournal journal, Progress progress, Consumer<String> log, int threads) {

    private static final String NAME = "heads";
    private static final JsonMapper JSON = JsonMapper.shared();

    /** @param total key-value heads of all layers at most */
    ConvertReport.Budget choose(int total, TokenSequences calibration) {
        Optional<Part> earlier = journal.find(NAME);
        if (earlier.isPresent()) {
            return JSON.treeToValue(earlier.get().note(), ConvertReport.Budget.class);
        }
        List<SequencedMap<Integer, Double>> costs = costs(calibration);
        List<Integer> chosen = chosen(costs, total);
        List<ConvertReport.LayerCost> layers = new ArrayList<>();
        double sum = 0;
        for (int block = 0; block < chosen.size(); block++) {
            SequencedMap<Integer, Double> each = costs.get(block);
            layers.add(new ConvertReport.LayerCost(block, chosen.get(block), each));
            sum += Objects.requireNonNull(each.get(chosen.get(block)));
        }
        ConvertReport.Budget budget = new ConvertReport.Budget(total, sum, layers);
        layers.forEach(layer -> log.accept(line(layer)));
        journal.writeNote(NAME, (ObjectNode) JSON.valueToTree(budget));
        return budget;
    }

    /** @param costs by layer, of each possible number of heads */
    private static List<Integer> chosen(List<SequencedMap<Integer, Double>> costs, int total) {
        List<List<Integer>> numbers = costs.stream().map(layer -> List.copyOf(layer.sequencedKeySet())).toList();
        List<List<Knapsack.Item>> items = costs.stream().map(layer -> layer.sequencedEntrySet().stream()
                .map(each -> new Knapsack.Item(each.getKey(), each.getValue())).toList()).toList();
        List<Integer> indices = Knapsack.choose(items, total)
                .orElseThrow(() -> new IllegalArgumentException(total + " heads are too few for " + costs));
        return IntStream.range(0, costs.size()).mapToObj(layer -> numbers.get(layer).get(indices.get(layer))).toList();
    }

    private static String line(ConvertReport.LayerCost layer) {
        return "block " + layer.block() + ": " + layer.kvHeads() + " KV heads; alone they cost "
                + layer.divergences().entrySet().stream()
                        .map(each -> String.format(Locale.ROOT, "%d: %.5f", each.getKey(), each.getValue()))
                        .collect(Collectors.joining(", "))
                + " nats per token before any fit";
    }

    private List<SequencedMap<Integer, Double>> costs(TokenSequences calibration) {
        int blocks = model.spec().blocks();
        int length = calibration.length();
        int together = Math.clamp(HeadMerging.BATCH_TOKENS / length, 1, calibration.count());
        try (ActivationStore stream = Streams.embedded(model, calibration, HeadMerging.BATCH_TOKENS);
                Dense dense = Dense.open(threads)) {
            List<SequencedMap<Integer, Double>> measured = new LayerCosts(model, dense,
                    new Sequences(stream, stream, length, together),
                    block -> progress.at("cost of fewer heads, block " + (block + 1) + "/" + blocks, block, blocks))
                    .measure(HeadPlan.fewer(model.spec()));
            List<SequencedMap<Integer, Double>> all = new ArrayList<>();
            for (SequencedMap<Integer, Double> layer : measured) {
                SequencedMap<Integer, Double> costs = new LinkedHashMap<>();
                costs.put(HeadPlan.attention(model.spec()).kvHeads(), 0.0);
                costs.putAll(layer);
                all.add(costs);
            }
            return all;
        }
    }
}
