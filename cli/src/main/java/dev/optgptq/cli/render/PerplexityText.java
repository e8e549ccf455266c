package dev.optgptq.cli.render;

import dev.optgptq.calibrate.eval.PerplexityComparison;
import dev.optgptq.cli.console.TextTable;
import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.eval.PerplexityReport;
import dev.optgptq.cli.eval.PerplexityReport.Measurement;
import java.util.Locale;

/** What eval perplexity prints. */
public final class PerplexityText {

    private PerplexityText() {}

    public static String of(PerplexityReport report) {
        TextTable table = TextTable.of("model", ">perplexity", ">95 % interval", ">time");
        Measurement baseline = report.baseline();
        if (baseline != null) {
            row(table, baseline);
        }
        row(table, report.model());
        StringBuilder text = new StringBuilder();
        text.append(report.text()).append(", ").append(report.windows()).append(" windows of ").append(report.window())
                .append(" tokens").append(System.lineSeparator()).append(System.lineSeparator()).append(table.text(""));
        PerplexityComparison change = report.change();
        if (change != null) {
            text.append(System.lineSeparator()).append(change(change)).append(System.lineSeparator());
        }
        report.thresholds().forEach(verdict -> text.append(verdict.passed() ? "passed" : "MISSED").append(" --")
                .append(verdict.name()).append(": ").append(verdict.sentence()).append(System.lineSeparator()));
        return text.toString();
    }

    private static void row(TextTable table, Measurement measured) {
        table.row(measured.path(), Units.perplexity(measured.perplexity()),
                Units.perplexity(measured.low()) + " .. " + Units.perplexity(measured.high()),
                Units.duration(measured.seconds()));
    }

    private static String change(PerplexityComparison change) {
        Double p = change.pValue();
        return String.format(Locale.ROOT,
                "increase %+.4f, %+.3f %% (95 %% interval %+.3f to %+.3f %%, paired over windows%s)",
                change.difference(), 100 * change.increase(), 100 * change.increaseLow(), 100 * change.increaseHigh(),
                p == null ? "" : String.format(Locale.ROOT, ", p = %.2g", p));
    }
}
