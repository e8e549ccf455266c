package dev.optgptq.gptq.run.memory;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;

import dev.optgptq.formats.UserError.Code;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

/** Evaluating that takes 1000 MiB on the device; a process takes 250 MiB, and a device's libraries 512 MiB. */
class MemoryNeedTest {

    private static final long MIB = 1L << 20;

    @Test
    void what_fits_exactly_is_let_through() {
        assertDoesNotThrow(() -> evaluate(1, 1250, OptionalLong.empty()));
        assertDoesNotThrow(() -> evaluate(1, 250, OptionalLong.of(1512 * MIB)));
    }

    @Test
    void too_little_of_the_hosts_memory_is_refused_with_both_numbers_and_what_to_do() {
        assertUserError(Code.MEMORY, () -> evaluate(1, 1249, OptionalLong.empty()), "evaluating needs about 1250 MiB",
                "1249 MiB are free", "one model", "Close other programs", "--window");
    }

    @Test
    void too_little_of_the_devices_memory_is_refused_with_both_numbers_and_what_to_do() {
        assertUserError(Code.MEMORY, () -> evaluate(1, 4000, OptionalLong.of(1511 * MIB)),
                "evaluating needs about 1512 MiB of device memory", "1511 MiB are free there", "--device cpu");
    }

    @Test
    void of_two_models_one_can_be_left_out() {
        assertUserError(Code.MEMORY, () -> evaluate(2, 1000, OptionalLong.empty()), "2 models", "without --baseline");
        assertUserError(Code.MEMORY, () -> evaluate(2, 4000, OptionalLong.of(0)), "2 models", "without --baseline");
    }

    private static void evaluate(int models, long hostMebibytes, OptionalLong device) {
        MemoryNeed.Free free = new MemoryNeed.Free(hostMebibytes * MIB, device);
        MemoryNeed.evaluating(1000 * MIB, models, free).require(free, MemoryNeed.toEvaluate(models));
    }
}
