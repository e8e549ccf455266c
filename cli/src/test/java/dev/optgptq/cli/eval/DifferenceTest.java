package dev.optgptq.cli.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.eval.PairedTest;
import org.junit.jupiter.api.Test;

class DifferenceTest {

    @Test
    void a_loss_that_both_tests_show_is_called_one() {
        assertEquals("worse by 0.0123 nats per token (95 % 0.0110 to 0.0136), p < 0.001",
                sentence(new PairedTest(30, 0.0123, 0.0110, 0.0136, 1e-9, 1e-5)));
    }

    @Test
    void a_gain_is_told_with_its_interval_turned_round() {
        assertEquals("better by 0.0123 nats per token (95 % 0.0110 to 0.0136), p = 0.012",
                sentence(new PairedTest(30, -0.0123, -0.0136, -0.0110, 0.004, 0.012)));
    }

    @Test
    void a_difference_that_one_test_does_not_show_is_chance() {
        assertEquals("no difference shown: +0.00040 nats per token (95 % 0.00010 to 0.00070), p = 0.061",
                sentence(new PairedTest(30, 0.0004, 0.0001, 0.0007, 0.01, 0.061)));
    }

    @Test
    void small_differences_keep_two_digits_of_their_interval() {
        assertEquals("worse by 0.0000123 nats per token (95 % 0.0000110 to 0.0000136), p = 0.001",
                sentence(new PairedTest(300, 1.23e-5, 1.10e-5, 1.36e-5, 1e-9, 0.001)));
    }

    @Test
    void too_few_windows_show_nothing_and_say_how_many_would() {
        assertEquals("no difference shown: -0.2000 nats per token over 5 windows, and at least 6 are needed for a "
                + "test", sentence(new PairedTest(5, -0.2, -0.3, -0.1, 1e-9, 0.0625)));
        assertEquals("no difference shown: +0.2000 nats per token over 1 window, and at least 6 are needed for a "
                + "test", sentence(new PairedTest(1, 0.2, 0.2, 0.2, null, null)));
    }

    private static String sentence(PairedTest test) {
        return Difference.of(test).sentence();
    }
}
