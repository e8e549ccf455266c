package dev.optgptq.gptq.allocate;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.packed.PackedGrid;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * A choice of grids within a budget.
 *
 * @param units with their options
 * @param chosen the option of each
 * @param budget bytes for all of them
 */
public record Allocation(List<Unit> units, List<Integer> chosen, long budget) {

    /**
     * The best one.
     *
     * @param keptBytes of what is not quantized in the checkpoint
     * @throws UserError BAD_SETTING where the least of every unit does not fit
     */
    public static Allocation of(List<Unit> units, Budget budget, long keptBytes) {
        long weights = units.stream().mapToLong(Unit::weights).sum();
        long bytes = budget.bytes(weights, keptBytes);
        List<List<Knapsack.Item>> items = units.stream()
                .map(unit -> unit.options().stream().map(option -> new Knapsack.Item(option.bytes(), option.loss()))
                        .toList())
                .toList();
        List<Integer> chosen = Knapsack.choose(items, bytes)
                .orElseThrow(() -> tooSmall(units, budget, weights, keptBytes));
        return new Allocation(units, chosen, bytes);
    }

    private static UserError tooSmall(List<Unit> units, Budget budget, long weights, long keptBytes) {
        long least = units.stream()
                .mapToLong(unit -> unit.options().stream().mapToLong(Option::bytes).min().orElseThrow()).sum();
        return new UserError(Code.BAD_SETTING, budget.words() + ": expected at least "
                + switch (budget) {
                    case Budget.AverageBits _ -> String.format(Locale.ROOT,
                            "%.2f, which the fewest bits take with scales and zero points",
                            Math.ceil(100 * 8.0 * least / weights) / 100);
                    case Budget.TargetSize _ -> String.format(Locale.ROOT,
                            "%,d bytes: %,d of the fewest bits, and %,d of what is not quantized", least + keptBytes,
                            least, keptBytes);
                } + "; give more, or larger groups");
    }

    /** The grid of every linear, by module. */
    public Map<String, PackedGrid> grids() {
        Map<String, PackedGrid> grids = new LinkedHashMap<>();
        for (int i = 0; i < units.size(); i++) {
            for (LinearSpec linear : units.get(i).linears()) {
                grids.put(linear.module(), option(i).grid());
            }
        }
        return grids;
    }

    /** The grid that most weights have: the others are exceptions. */
    public PackedGrid commonest() {
        Map<PackedGrid, Long> weights = new LinkedHashMap<>();
        for (int i = 0; i < units.size(); i++) {
            weights.merge(option(i).grid(), units.get(i).weights(), Long::sum);
        }
        return weights.entrySet().stream().max(Map.Entry.comparingByValue()).orElseThrow().getKey();
    }

    /** What the unit got. */
    public Option option(int unit) {
        return units.get(unit).options().get(chosen.get(unit));
    }

    public long bytes() {
        long bytes = 0;
        for (int i = 0; i < units.size(); i++) {
            bytes += option(i).bytes();
        }
        return bytes;
    }

    /** By which the loss is expected to rise, in nats per token. */
    public double loss() {
        double loss = 0;
        for (int i = 0; i < units.size(); i++) {
            loss += option(i).loss();
        }
        return loss;
    }

    /** Bits of a weight on average, with its share of scales, zero points and groups. */
    public double averageBits() {
        return (double) Byte.SIZE * bytes() / units.stream().mapToLong(Unit::weights).sum();
    }

    /** For the log: how many weights have how many bits. */
    public String words() {
        Map<Integer, Long> weights = new LinkedHashMap<>();
        List<Integer> order = new ArrayList<>();
        for (int i = 0; i < units.size(); i++) {
            int bits = option(i).grid().bits();
            if (weights.merge(bits, units.get(i).weights(), Long::sum) == units.get(i).weights()) {
                order.add(bits);
            }
        }
        long all = weights.values().stream().mapToLong(Long::longValue).sum();
        StringBuilder words = new StringBuilder();
        order.stream().sorted()
                .forEach(bits -> words.append(String.format(Locale.ROOT, "%s%.0f %% of the weights in %d",
                        words.isEmpty() ? "" : ", ", 100.0 * weights.getOrDefault(bits, 0L) / all, bits)));
        return String.format(Locale.ROOT, "bits chosen: %s; %.2f bits per weight stored, of %.2f", words, averageBits(),
                8.0 * budget / all);
    }
}
