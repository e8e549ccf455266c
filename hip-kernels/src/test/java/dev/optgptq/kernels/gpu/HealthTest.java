package dev.optgptq.kernels.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class HealthTest {

    private final Health health = new Health("hip:1", "hip");

    @Test
    void a_loss_names_the_device_the_failure_and_what_was_issued_since_it_last_answered() {
        health.issued("norms.rms_norm");
        health.answered();
        health.issued("gemm.tile");
        health.issued("gemm.tile");
        health.issued("solve.solve_block");
        String message = lose();
        assertTrue(message.startsWith("hip:1 is lost: code 719; the failure is in one of the last operations issued "
                + "to it: gemm.tile, solve.solve_block. Start again"), message);
    }

    @Test
    void no_more_than_the_last_eight_are_named() {
        IntStream.range(0, 100).forEach(i -> health.issued("kernel" + i));
        String message = lose();
        assertTrue(message.contains("issued to it: kernel92, ") && message.contains("kernel99."), message);
    }

    @Test
    void nothing_is_blamed_where_nothing_was_issued() {
        assertFalse(lose().contains("issued"));
    }

    @Test
    void each_vendor_has_its_own_way_to_find_the_kernel() {
        assertTrue(lose().contains("AMD_SERIALIZE_KERNEL=3"));
        UserError cuda = assertThrows(UserError.class, () -> new Health("cuda:0", "cuda").tell(HealthTest::fail719));
        assertTrue(String.valueOf(cuda.getMessage()).contains("CUDA_LAUNCH_BLOCKING=1"), cuda.getMessage());
    }

    @Test
    void a_lost_device_is_not_asked_again_and_each_refusal_is_an_exception_of_its_own() {
        lose();
        UserError first = assertThrows(UserError.class, () -> health.tell(() -> assertFalse(true, "asked")));
        UserError second = assertThrows(UserError.class, () -> health.tell(() -> assertFalse(true, "asked")));
        assertEquals(UserError.Code.DEVICE_LOST, first.code());
        assertNotSame(first, second);
    }

    @Test
    void other_failures_leave_the_device_usable() {
        UserError full = new UserError(UserError.Code.MEMORY, "full");
        assertEquals(full, assertThrows(UserError.class, () -> health.tell(() -> {
            throw full;
        })));
        assertFalse(health.isLost());
        assertEquals(7, health.ask(() -> 7));
    }

    private String lose() {
        UserError lost = assertThrows(UserError.class, () -> health.tell(HealthTest::fail719));
        assertTrue(health.isLost());
        return String.valueOf(lost.getMessage());
    }

    private static void fail719() {
        throw new UserError(UserError.Code.DEVICE_LOST, "code 719");
    }
}
