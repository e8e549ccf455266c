package dev.optgptq.gptq.convert.merge;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.kernels.dense.Matrix;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Which key stands for those of a group where a norm follows. */
class KeySelectionTest {

    /** Keys of one element: those of three members are 1, 2 and 10 times the same. */
    private static final double[] KEYS = {1, 2, 10};

    @Test
    void the_member_that_the_scores_of_all_miss_least_is_taken_and_what_they_lose_is_said() {
        Merge merge = new KeySelection(false).merge(group(1, 1, 1));

        assertArrayEquals(new double[] {0, 1, 0}, merge.shared().toDoubles());
        // (1 - 2)^2 + (10 - 2)^2 of 1 + 4 + 100; the first would lose 82, the last 145.
        assertEquals(65.0 / 105, merge.residual(), 1e-12);
    }

    @Test
    void queries_decide_whose_scores_count() {
        assertArrayEquals(new double[] {0, 0, 1},
                new KeySelection(false).merge(group(1, 1, 9)).shared().toDoubles());
    }

    @Test
    void the_mean_is_the_other_way_and_queries_stay_as_they_are_in_both() {
        assertEquals(List.of(new KeySelection(false), new KeySelection(true)), KeySelection.ways());
        Merge merge = new KeySelection(true).merge(group(1, 1, 1));

        assertArrayEquals(new double[] {1 / 3.0, 1 / 3.0, 1 / 3.0}, merge.shared().toDoubles(), 1e-12);
        for (KeySelection way : KeySelection.ways()) {
            way.merge(group(1, 1, 1)).spread()
                    .forEach(spread -> assertArrayEquals(new double[] {1}, spread.toDoubles()));
        }
    }

    /** @param queries E[q^2] of each member's query head */
    private static GroupMoments group(double... queries) {
        int members = KEYS.length;
        Matrix keys = Matrix.generate(members, members, (i, j) -> KEYS[i] * KEYS[j]);
        List<Matrix> each = Collections.nCopies(members, keys);
        Matrix mean = Matrix.zeros(1, members);
        return new GroupMoments(members,
                IntStream.range(0, members).mapToObj(i -> Matrix.of(1, 1, queries[i])).toList(),
                keys, mean, each, each, Collections.nCopies(members, mean), Collections.nCopies(members, 1.0));
    }
}
