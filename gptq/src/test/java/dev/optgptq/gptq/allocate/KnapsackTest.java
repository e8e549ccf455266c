package dev.optgptq.gptq.allocate;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.family.RowOrder;
import dev.optgptq.calibrate.family.WeightView.Stored;
import dev.optgptq.calibrate.family.WeightView;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.gptq.allocate.Knapsack.Item;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The best choice within a number of bytes. */
class KnapsackTest {

    private static final PackedGrid ANY = new PackedGrid(4, 32, true, false);

    @Test
    void the_choice_is_the_best_of_all_for_every_budget() {
        for (long seed = 0; seed < 20; seed++) {
            Random random = new Random(seed);
            List<List<Item>> units = new ArrayList<>();
            for (int unit = 0; unit < 5; unit++) {
                List<Item> items = new ArrayList<>();
                for (int item = 0; item < 1 + random.nextInt(4); item++) {
                    items.add(new Item(1 + random.nextInt(9), random.nextInt(5)));
                }
                units.add(items);
            }
            for (long budget = 0; budget < 50; budget++) {
                requireBest(units, budget, 0, "seed " + seed + ", " + budget);
            }
        }
    }

    /** Sizes are numbers of heads, and costs any numbers. */
    @Test
    void the_choice_of_heads_for_layers_is_the_best_of_all() {
        for (long seed = 0; seed < 50; seed++) {
            SplittableRandom random = new SplittableRandom(seed);
            List<List<Item>> layers = new ArrayList<>();
            for (int layer = 0; layer < 4; layer++) {
                List<Item> items = new ArrayList<>(List.of(new Item(6, 0)));
                List.of(3, 2, 1).forEach(heads -> items.add(new Item(heads, random.nextDouble() / heads)));
                layers.add(items);
            }
            int total = 4 + random.nextInt(20);
            requireBest(layers, total, 1e-12, "seed " + seed + ", " + total + " heads");
        }
    }

    private static void requireBest(List<List<Item>> units, long budget, double tolerance, String where) {
        Optional<List<Integer>> chosen = Knapsack.choose(units, budget);
        double best = best(units, 0, budget);
        assertEquals(best < Double.POSITIVE_INFINITY, chosen.isPresent(), where);
        if (chosen.isPresent()) {
            assertEquals(best, cost(units, chosen.get()), tolerance, where);
            assertTrue(size(units, chosen.get()) <= budget, where);
        }
    }

    /** Of all combinations. */
    private static double best(List<List<Item>> units, int from, long budget) {
        if (from == units.size()) {
            return 0;
        }
        return units.get(from).stream().filter(item -> item.size() <= budget)
                .mapToDouble(item -> item.cost() + best(units, from + 1, budget - item.size())).min()
                .orElse(Double.POSITIVE_INFINITY);
    }

    private static double cost(List<List<Item>> units, List<Integer> chosen) {
        double cost = 0;
        for (int unit = 0; unit < units.size(); unit++) {
            cost += units.get(unit).get(chosen.get(unit)).cost();
        }
        return cost;
    }

    private static long size(List<List<Item>> units, List<Integer> chosen) {
        long size = 0;
        for (int unit = 0; unit < units.size(); unit++) {
            size += units.get(unit).get(chosen.get(unit)).size();
        }
        return size;
    }

    @Test
    void four_kinds_of_linears_in_a_hundred_blocks_are_chosen_so_that_no_other_item_fits_and_costs_less() {
        Random random = new Random(7);
        List<List<Item>> units = new ArrayList<>();
        for (int unit = 0; unit < 400; unit++) {
            long size = List.of(3L, 1L, 11L, 5L).get(unit % 4) << 20;
            double curve = 1 + random.nextDouble();
            units.add(List.of(new Item(2 * size, curve), new Item(3 * size, curve / 4),
                    new Item(4 * size, curve / 16), new Item(8 * size, 0)));
        }
        long budget = 7000L << 20;

        List<Integer> chosen = Knapsack.choose(units, budget).orElseThrow();

        assertEquals(400, chosen.size());
        long left = budget - size(units, chosen);
        assertTrue(left >= 0, () -> -left + " bytes too many");
        for (int unit = 0; unit < units.size(); unit++) {
            Item own = units.get(unit).get(chosen.get(unit));
            for (Item other : units.get(unit)) {
                assertTrue(other.size() - own.size() > left || other.cost() >= own.cost(),
                        "unit " + unit + ": " + other + " instead of " + own + ", with " + left + " left");
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"4.2GB, 4200000000", "900MiB, 943718400", "1000B, 1000", "3kB, 3000", "1.5TiB, 1649267441664"})
    void a_size_is_in_powers_of_1000_or_1024(String text, long bytes) {
        assertEquals(bytes - 24, Budget.TargetSize.of(text).bytes(1, 24));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "4.2", "GB", "4,2GB", "-1GB", "4.2XB", "4.2gb"})
    void another_size_is_refused(String text) {
        assertUserError(Code.BAD_SETTING, () -> Budget.TargetSize.of(text), "--target-size", "such as 4.2GB");
    }

    @Test
    void a_budget_below_the_fewest_bits_says_what_they_take() {
        LinearSpec linear = new LinearSpec("layers.0.up", "up", Projection.UP, LinearSpec.NO_EXPERT, 100, 80, false,
                new WeightView("layers.0.up.weight", "", RowOrder.single(80), Stored.OUT_IN, 0, 1));
        List<Unit> units = List.of(new Unit(0, List.of(linear), List.of(new Option(ANY, 2751, 1))));

        assertUserError(Code.BAD_SETTING, () -> Allocation.of(units, new Budget.AverageBits(2.75), 0),
                "--average-bits 2.75: expected at least 2.76", "or larger groups");
        assertUserError(Code.BAD_SETTING, () -> Allocation.of(units, Budget.TargetSize.of("3kB"), 500),
                "--target-size 3kB: expected at least 3,251 bytes: 2,751 of the fewest bits, and 500");
        assertEquals(2751, Allocation.of(units, new Budget.AverageBits(2.76), 0).bytes());
    }

    @Test
    void one_budget_is_enough() {
        assertUserError(Code.BAD_SETTING, () -> Budget.of(3.5, "4GB"), "--average-bits 3.5", "--target-size");
    }
}
