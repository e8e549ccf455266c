package dev.optgptq.cli.console;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class UnitsTest {

    @ParameterizedTest
    @CsvSource({"0, 0 ms", "0.0042, 4 ms", "0.0994, 99 ms", "0.0996, 0.10 s", "0.994, 0.99 s", "0.996, 1.0 s",
            "9.94, 9.9 s", "9.96, 10 s", "59.4, 59 s", "59.6, 1 min 00 s", "3599.4, 59 min 59 s", "3599.6, 1 h 00 min",
            "7500, 2 h 05 min"})
    void durations_keep_two_or_three_digits(double seconds, String expected) {
        assertEquals(expected, Units.duration(seconds));
    }

    @ParameterizedTest
    @CsvSource({"0, 0 B", "999, 999 B", "1000, 1.0 kB", "99949, 99.9 kB", "99951, 100 kB", "999499, 999 kB",
            "999500, 1.0 MB", "2200000000, 2.2 GB"})
    void bytes_count_in_powers_of_a_thousand(long bytes, String expected) {
        assertEquals(expected, Units.bytes(bytes));
    }

    @ParameterizedTest
    @CsvSource({"0, 0", "0.41, 0.4100", "0.001, 0.0010", "0.00099, 9.9e-04"})
    void small_shares_stay_readable(double value, String expected) {
        assertEquals(expected, Units.small(value));
    }

    @ParameterizedTest
    @CsvSource({"20, 20.5, +2.50 %", "20, 19.9, -0.50 %", "20, 20, +0.00 %"})
    void changes_carry_their_sign(double before, double after, String expected) {
        assertEquals(expected, Units.change(before, after));
    }
}
