package dev.optgptq.cli.render;

import dev.optgptq.calibrate.eval.Divergence;
import dev.optgptq.calibrate.eval.PerplexityComparison;
import dev.optgptq.cli.console.TextTable;
import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.eval.Difference;
import dev.optgptq.cli.eval.PerplexityReport.Measurement;
import dev.optgptq.cli.eval.PerplexityReport;
import java.util.List;
import java.util.Locale;

/** The text of eval perplexity. */
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
        appendComparison(text, report);
        report.thresholds().forEach(verdict -> text.append(verdict.passed() ? "passed" : "MISSED").append(" --")
                .append(verdict.name()).append(": ").append(verdict.sentence()).append(System.lineSeparator()));
        return text.toString();
    }

    /** Nothing without a baseline. */
    private static void appendComparison(StringBuilder text, PerplexityReport report) {
        PerplexityComparison change = report.change();
        Difference difference = report.difference();
        Divergence divergence = report.divergence();
        if (change == null || difference == null || divergence == null) {
            return;
        }
        text.append(System.lineSeparator());
        List.of(change(change), difference.sentence(), divergence(divergence), agreement(divergence))
                .forEach(line -> text.append(line).append(System.lineSeparator()));
    }

    private static void row(TextTable table, Measurement measured) {
        table.row(measured.path(), Units.perplexity(measured.perplexity()),
                Units.perplexity(measured.low()) + " .. " + Units.perplexity(measured.high()),
                Units.duration(measured.seconds()));
    }

    private static String change(PerplexityComparison change) {
        return String.format(Locale.ROOT,
                "increase %+.4f, %+.3f %% (95 %% interval %+.3f to %+.3f %%, paired over windows)",
                change.difference(), 100 * change.increase(), 100 * change.increaseLow(), 100 * change.increaseHigh());
    }

    private static String divergence(Divergence found) {
        return String.format(Locale.ROOT,
                "KL divergence %s nats per token (95 %% %s to %s), median %s, 99th percentile %s",
                Units.small(found.kl()), Units.small(found.klLow()), Units.small(found.klHigh()),
                Units.small(found.klMedian()), Units.small(found.klPercentile99()));
    }

    private static String agreement(Divergence found) {
        return String.format(Locale.ROOT, "top-1 agreement %.2f %% (95 %% %.2f to %.2f %%)",
                100 * found.top1(), 100 * found.top1Low(), 100 * found.top1High());
    }
}
