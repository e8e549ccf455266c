package dev.optgptq.cli.render;

import dev.optgptq.calibrate.eval.Divergence;
import dev.optgptq.cli.console.TextTable;
import dev.optgptq.cli.console.Units;
import dev.optgptq.gptq.report.ExpertCoverage;
import dev.optgptq.gptq.report.RunReport.Layer;
import dev.optgptq.gptq.report.RunReport.Phase;
import dev.optgptq.gptq.report.RunReport;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** The summary of a quantize run: the main numbers, and the next command. */
public final class SummaryText {

    private static final int WORST = 3;
    private static final int LONGEST = 5;

    private SummaryText() {}

    public static String of(RunReport report, ReportFiles files) {
        TextTable table = TextTable.of("", "");
        size(table, report.size());
        range(table, report.range());
        quality(table, report);
        experts(table, ExpertCoverage.of(report.layers()));
        worstLayers(table, report.layers());
        table.row("time", time(report));
        RunReport.Resumed resumed = report.resumed();
        if (resumed.happened()) {
            table.row("resumed", "after " + resumed.blocks() + " blocks of a run started " + report.started()
                    + "; time covers both runs, without the work that was lost");
        }
        long peak = report.memory().peakAnonymous();
        table.row("memory", (peak < 0 ? "unknown" : Units.bytes(peak)) + " peak, of " + Units.bytes(
                report.memory().planned()) + " planned");
        table.row("report", files.html().toString());
        return String.join(System.lineSeparator(), "", "wrote " + report.model().output(), "", table.text("  "))
                + troubled(report.layers()) + System.lineSeparator() + next(report) + System.lineSeparator();
    }

    private static void size(TextTable table, RunReport.Size size) {
        table.row("size", String.format(Locale.ROOT, "%s -> %s, %.2f bits per quantized weight, from %.0f",
                Units.bytes(size.bytesBefore()), Units.bytes(size.bytesAfter()), size.bitsPerWeight(),
                size.bitsBefore()));
    }

    private static void range(TextTable table, RunReport.Range range) {
        Double largest = range.largestActivation();
        String activations = largest == null
                ? "no activations were measured"
                : String.format(Locale.ROOT, "activations up to %,.3g (%s)", largest, range.largestAt());
        table.row("dtype", String.format(Locale.ROOT, "%s: %s; %.0f %% of the scales are negative", range.dtype(),
                activations, 100 * range.negativeScales()));
    }

    private static void quality(TextTable table, RunReport report) {
        RunReport.Quality quality = report.quality();
        if (quality == null) {
            table.row("quality", "not measured (--eval none)");
            return;
        }
        RunReport.Score before = quality.before();
        RunReport.Score after = quality.after();
        Divergence divergence = quality.divergence();
        table.row("KL divergence", String.format(Locale.ROOT, "%s nats per token from the original (95 %% %s .. %s)",
                Units.small(divergence.kl()), Units.small(divergence.klLow()), Units.small(divergence.klHigh())));
        table.row("top-1 agreement", String.format(Locale.ROOT, "%.2f %% of predictions (95 %% %.2f .. %.2f %%)",
                100 * divergence.top1(), 100 * divergence.top1Low(), 100 * divergence.top1High()));
        table.row("perplexity",
                Units.perplexity(before.perplexity()) + " -> " + Units.perplexity(after.perplexity()) + " ("
                        + Units.change(before.perplexity(), after.perplexity()) + ")");
        table.row("", String.format(Locale.ROOT, "95 %% intervals %s -> %s; of the change %+.2f .. %+.2f %%",
                interval(before), interval(after), 100 * quality.change().increaseLow(),
                100 * quality.change().increaseHigh()));
        table.row("measured on", String.format(Locale.ROOT, "%s, %d windows of %d tokens", quality.text(),
                quality.windows(), quality.window()));
    }

    private static String interval(RunReport.Score score) {
        return String.format(Locale.ROOT, "%.2f .. %.2f", score.low(), score.high());
    }

    private static void worstLayers(TextTable table, List<Layer> layers) {
        List<Layer> worst = layers.stream().sorted(Comparator.comparingDouble(SummaryText::error).reversed())
                .limit(WORST)
                .toList();
        for (int i = 0; i < worst.size(); i++) {
            Layer layer = worst.get(i);
            String kind = layer.relativeError() == null ? "weight" : "output";
            table.row(i == 0 ? "worst layers" : "",
                    layer.module() + ", relative " + kind + " error " + Units.small(error(layer)));
        }
    }

    private static void experts(TextTable table, List<ExpertCoverage> coverage) {
        if (coverage.isEmpty()) {
            return;
        }
        ExpertCoverage least = coverage.stream().min(Comparator.comparingLong(ExpertCoverage::fewest)).orElseThrow();
        int shrunk = coverage.stream().mapToInt(ExpertCoverage::shrunk).sum();
        long all = coverage.stream().mapToLong(block -> block.tokens().size()).sum();
        table.row("experts", String.format(Locale.ROOT,
                "fewest calibration tokens %,d (block %d); %,d of %,d drawn to their layer's Hessian", least.fewest(),
                least.block(), shrunk, all));
    }

    private static double error(Layer layer) {
        Double output = layer.relativeError();
        return output == null ? layer.weightError() : output;
    }

    private static String time(RunReport report) {
        return Units.duration(report.seconds()) + ": " + report.phases().stream()
                .sorted(Comparator.comparingDouble(Phase::seconds).reversed()).limit(LONGEST)
                .map(phase -> phase.name() + " " + Units.duration(phase.seconds())).collect(Collectors.joining(", "));
    }

    private static String troubled(List<Layer> layers) {
        return layers.stream().filter(layer -> layer.problem() != null)
                .map(layer -> "  warning: " + layer.module() + ": " + layer.problem() + System.lineSeparator())
                .collect(Collectors.joining());
    }

    private static String next(RunReport report) {
        return "Next: opt-gptq eval perplexity " + quoted(report.model().output()) + " --baseline "
                + quoted(report.model().path()) + " --text YOUR_TEXT";
    }

    /** Quoted for a shell. */
    private static String quoted(String path) {
        return path.matches("[\\w./@%+=:,-]+") ? path : "'" + path.replace("'", "'\\''") + "'";
    }
}
