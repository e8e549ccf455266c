package dev.optgptq.cli.console;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What progress looks like, on a clock that the test moves. */
class ProgressTest {

    private static final long SECOND = 1_000_000_000L;
    private static final Terminal TERMINAL = new Terminal(80, false, false, false);

    private final StringWriter err = new StringWriter();
    private long nanos = 1;

    @Test
    void a_terminal_shows_phase_bar_percent_and_time_left_on_one_line() {
        try (LiveProgress progress = new LiveProgress(new PrintWriter(err), TERMINAL, () -> nanos)) {
            progress.at("block 1/4: forward", 0, 100);
            nanos += 10 * SECOND;
            progress.at("block 2/4: solve", 25, 100);
            String line = last(err.toString());
            for (String part : List.of("block 2/4: solve", "######------------------", "25 %", "30 s left")) {
                assertTrue(line.contains(part), () -> part + " in " + line);
            }
            assertTrue(line.length() < TERMINAL.columns(), line);
        }
    }

    @Test
    void a_terminal_is_redrawn_at_most_ten_times_a_second() {
        try (LiveProgress progress = new LiveProgress(new PrintWriter(err), TERMINAL, () -> nanos)) {
            for (int step = 0; step < 100; step++) {
                progress.at("forward", step, 100);
                nanos += SECOND / 100;
            }
        }
        assertTrue(err.toString().split("\r", -1).length - 1 <= 12, err::toString);
    }

    @Test
    void a_line_that_stays_is_printed_above_the_live_one() {
        try (LiveProgress progress = new LiveProgress(new PrintWriter(err), TERMINAL, () -> nanos)) {
            progress.at("solve", 1, 2);
            progress.log("model.layers.0: damped");
        }
        assertTrue(err.toString().contains("\u001B[2Kmodel.layers.0: damped" + System.lineSeparator()), err::toString);
        assertTrue(err.toString().endsWith("\r\u001B[2K"), "the live line is cleared at the end");
    }

    @Test
    void without_a_terminal_there_are_plain_lines_and_few_of_them() {
        try (PlainProgress progress = new PlainProgress(new PrintWriter(err), () -> nanos)) {
            for (int step = 0; step < 1000; step++) {
                progress.at("forward", step, 1000);
                nanos += SECOND / 100;
            }
        }
        List<String> lines = err.toString().lines().toList();
        assertTrue(lines.size() > 1 && lines.size() <= 20, lines::toString);
        lines.forEach(line -> assertTrue(line.matches("\\[[ \\d]{3} %] forward.*"), line));
        assertFalse(err.toString().contains("\u001B"), "no escape sequences");
    }

    @Test
    void after_its_end_progress_is_silent() {
        PlainProgress progress = new PlainProgress(new PrintWriter(err), () -> nanos);
        progress.close();
        progress.at("forward", 1, 2);
        assertEquals("", err.toString());
    }

    private static String last(String text) {
        return text.substring(text.lastIndexOf("\u001B[2K") + 4);
    }
}
