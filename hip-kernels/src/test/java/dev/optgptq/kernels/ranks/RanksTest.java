package dev.optgptq.kernels.ranks;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.testing.ThreadRanks;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What every implementation of ranks has in common, on threads. */
class RanksTest {

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5, 8})
    void what_one_rank_broadcasts_all_have(int size) {
        for (int from = 0; from < size; from++) {
            int sender = from;
            ThreadRanks.run(size, ranks -> assertArrayEquals(new long[] {10L + sender, -1},
                    ranks.broadcast(sender, 10L + ranks.rank(), ranks.rank() == sender ? -1 : 0)));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 4})
    void texts_are_exchanged_in_the_order_of_the_ranks(int size) {
        ThreadRanks.run(size, ranks -> assertEquals(
                IntStream.range(0, size).mapToObj("ä"::repeat).toList(), ranks.exchange("ä".repeat(ranks.rank()))));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 5})
    void nobody_goes_on_before_the_first(int size) {
        AtomicBoolean first = new AtomicBoolean();
        ThreadRanks.run(size, ranks -> {
            first.compareAndSet(false, ranks.isFirst());
            ranks.awaitFirst();
            assertTrue(first.get(), ranks.name(ranks.rank()));
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3})
    void a_rank_that_fails_ends_the_waiting_of_the_others_with_its_reason(int size) {
        ThreadRanks.run(size, ranks -> {
            if (ranks.rank() == 1) {
                ranks.fail("lost its card");
            } else {
                assertUserError(UserError.Code.DEVICE, () -> ranks.broadcast(1, 0L), "rank 1: lost its card");
            }
        });
    }
}
