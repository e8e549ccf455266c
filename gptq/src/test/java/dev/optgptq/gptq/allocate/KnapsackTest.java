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
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
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
            List<List<Option>> units = new ArrayList<>();
            for (int unit = 0; unit < 5; unit++) {
                List<Option> options = new ArrayList<>();
                for (int option = 0; option < 1 + random.nextInt(4); option++) {
                    options.add(new Option(ANY, 1 + random.nextInt(9), random.nextInt(5)));
                }
                units.add(options);
            }
            for (long budget = 0; budget < 50; budget++) {
                Optional<List<Integer>> chosen = Knapsack.choose(units, budget);
                double best = best(units, 0, budget);
                assertEquals(best < Double.POSITIVE_INFINITY, chosen.isPresent(), "seed " + seed + ", " + budget);
                if (chosen.isPresent()) {
                    assertEquals(best, loss(units, chosen.get()), 0, "seed " + seed + ", " + budget);
                    assertTrue(bytes(units, chosen.get()) <= budget, "seed " + seed + ", " + budget);
                }
            }
        }
    }

    /** Of all combinations. */
    private static double best(List<List<Option>> units, int from, long budget) {
        if (from == units.size()) {
            return 0;
        }
        return units.get(from).stream().filter(option -> option.bytes() <= budget)
                .mapToDouble(option -> option.loss() + best(units, from + 1, budget - option.bytes())).min()
                .orElse(Double.POSITIVE_INFINITY);
    }

    private static double loss(List<List<Option>> units, List<Integer> chosen) {
        double loss = 0;
        for (int unit = 0; unit < units.size(); unit++) {
            loss += units.get(unit).get(chosen.get(unit)).loss();
        }
        return loss;
    }

    private static long bytes(List<List<Option>> units, List<Integer> chosen) {
        long bytes = 0;
        for (int unit = 0; unit < units.size(); unit++) {
            bytes += units.get(unit).get(chosen.get(unit)).bytes();
        }
        return bytes;
    }

    @Test
    void four_kinds_of_linears_in_a_hundred_blocks_are_chosen_at_once() {
        Random random = new Random(7);
        List<List<Option>> units = new ArrayList<>();
        for (int unit = 0; unit < 400; unit++) {
            long size = List.of(3L, 1L, 11L, 5L).get(unit % 4) << 20;
            double curve = 1 + random.nextDouble();
            units.add(List.of(new Option(ANY, 2 * size, curve), new Option(ANY, 3 * size, curve / 4),
                    new Option(ANY, 4 * size, curve / 16), new Option(ANY, 8 * size, 0)));
        }
        assertEquals(400, Knapsack.choose(units, 7000L << 20).orElseThrow().size());
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
