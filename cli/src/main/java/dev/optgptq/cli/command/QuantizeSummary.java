package dev.optgptq.cli.command;

import dev.optgptq.cli.console.TextTable;
import dev.optgptq.cli.console.Units;
import dev.optgptq.gptq.report.RunReport;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Locale;

/** What a quantize run prints at its end. */
final class QuantizeSummary {

    private static final int WORST = 3;

    private QuantizeSummary() {}

    static String text(RunReport report, Path reportDirectory) {
        TextTable table = TextTable.of("", "");
        table.row("output", report.model().output());
        table.row("size", Units.bytes(report.size().bytesBefore()) + " -> " + Units.bytes(report.size().bytesAfter()));
        table.row("bits per quantized weight", String.format(Locale.ROOT, "%.2f -> %.3f", report.size().bitsBefore(),
                report.size().bitsPerWeight()));
        RunReport.Quality quality = report.quality();
        if (quality != null) {
            table.row("perplexity before", score(quality.before()));
            table.row("perplexity after", score(quality.after()));
        }
        report.layers().stream().filter(layer -> layer.relativeError() != null)
                .sorted(Comparator.comparingDouble((RunReport.Layer layer) -> -layer.weightError())).limit(WORST)
                .forEach(layer -> table.row("largest weight error", String.format(Locale.ROOT, "%s  %.4f", layer.module(),
                        layer.weightError())));
        report.phases().stream().filter(phase -> phase.seconds() > 0.005 * report.seconds())
                .forEach(phase -> table.row("time: " + phase.name(), Units.duration(phase.seconds())));
        table.row("time in all", Units.duration(report.seconds()));
        table.row("peak memory (anonymous)", Units.bytes(report.memory().peakAnonymous()));
        table.row("report", reportDirectory.resolve("report.html").toString());
        return table.text("") + "Next: opt-gptq eval perplexity " + report.model().output() + " --text FILE --baseline "
                + report.model().path() + "\n";
    }

    private static String score(RunReport.Score score) {
        return String.format(Locale.ROOT, "%.4f  (95 %% of means between %.4f and %.4f)", score.perplexity(), score.low(),
                score.high());
    }
}
