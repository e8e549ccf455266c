package dev.optgptq.cli.render;

import dev.optgptq.cli.console.TextTable;
import dev.optgptq.cli.console.Units;
import dev.optgptq.gptq.convert.ConvertReport;
import java.util.Locale;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** The summary of a conversion. */
public final class ConvertText {

    private ConvertText() {}

    public static String of(ConvertReport report, ReportFiles files) {
        TextTable layers = TextTable.of("layer", "KV heads", "keys lost", "values lost", "attention KL", "fitted",
                "output error", "after");
        for (ConvertReport.Layer layer : report.layers()) {
            layers.row(String.valueOf(layer.block()), String.valueOf(layer.kvHeads()), percent(layer.keyResidual()),
                    percent(layer.valueResidual()), number(layer.attentionDivergence()),
                    layer.turns() == 0 ? "-" : number(layer.fittedDivergence()),
                    step(layer.values()), step(layer.down()));
        }
        TextTable table = TextTable.of("", "");
        table.row("KV cache", report.cache().bytesPerTokenBefore() + " -> " + report.cache().bytesPerTokenAfter()
                + " bytes per token, in 16 bits");
        ConvertReport.Budget budget = report.budget();
        if (budget != null) {
            table.row("KV heads", String.format(Locale.ROOT,
                    "%s of at most %d; one layer alone with its number diverges by %.5f nats per token in sum, before any fit",
                    budget.layers().stream().map(layer -> String.valueOf(layer.kvHeads()))
                            .collect(Collectors.joining(" + ")),
                    budget.heads(), budget.divergence()));
        }
        ConvertReport.Positions positions = report.positions();
        if (positions != null) {
            String compared = positions.plain() == null
                    ? ""
                    : String.format(Locale.ROOT,
                            " (plain %.4f, fitted %.4f nats per token on held-out text)", positions.plain(),
                            positions.fitted());
            table.row("positions", positions.from() + " -> ALiBi from the " + positions.start() + " start" + compared);
        }
        ConvertReport.Healed healed = report.healed();
        if (healed != null) {
            table.row("healing", String.format(Locale.ROOT,
                    "KL divergence on held-out text %.5f -> %.5f nats per token, %d of %d steps, rate %.1e",
                    healed.before(),
                    healed.after(), healed.steps(), healed.planned(), healed.rate()));
        }
        quality(table, report.quality());
        table.row("time", Units.duration(report.seconds()) + ": " + report.phases().stream()
                .map(phase -> phase.name() + " " + Units.duration(phase.seconds()))
                .collect(Collectors.joining(", ")));
        table.row("report", files.html().toString());
        return String.join(System.lineSeparator(), "", "wrote " + report.model().output(), "",
                report.layers().isEmpty() ? "" : layers.text("  "),
                table.text("  ")) + System.lineSeparator();
    }

    private static void quality(TextTable table, ConvertReport.@Nullable Quality quality) {
        if (quality == null) {
            table.row("perplexity", "not measured (--eval none)");
            return;
        }
        table.row("perplexity", Units.perplexity(quality.before()) + " -> " + Units.perplexity(quality.after()));
        table.row("cross-entropy", String.format(Locale.ROOT, "%+.5f nats per token (95 %% %+.5f .. %+.5f)",
                quality.difference(), quality.differenceLow(), quality.differenceHigh()));
        table.row("divergence", String.format(Locale.ROOT,
                "%.5f nats per token, same token first in %.2f %%; %d windows of %d tokens, %s",
                quality.divergence().kl(), 100 * quality.divergence().top1(), quality.windows(), quality.window(),
                quality.text()));
    }

    private static String step(ConvertReport.@Nullable Step step) {
        return step == null ? "-" : String.format(Locale.ROOT, "%.3g -> %.3g", step.errorBefore(), step.errorAfter());
    }

    private static String percent(double share) {
        return String.format(Locale.ROOT, "%.2f %%", 100 * share);
    }

    private static String number(double value) {
        return String.format(Locale.ROOT, "%.4f", value);
    }
}
