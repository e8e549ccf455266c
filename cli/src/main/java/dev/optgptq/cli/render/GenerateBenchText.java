package dev.optgptq.cli.render;

import dev.optgptq.calibrate.generate.DecodeTiming;
import dev.optgptq.cli.console.TextTable;
import dev.optgptq.gptq.bench.GenerateReport;
import dev.optgptq.gptq.bench.GenerateReport.Measured;
import java.util.Locale;

/** The report of bench --generate as text. */
public final class GenerateBenchText {

    private GenerateBenchText() {}

    /** A table; each variant is compared with the first at the same batch size. */
    public static String of(GenerateReport report) {
        TextTable table = TextTable.of("variant", "batch", "ms/step", "tokens/s", "of floor", "attention", "linears ms",
                "first token ms", "peak GB", "tokens/s to first", "memory to first");
        for (Measured measured : report.measured()) {
            DecodeTiming timing = measured.timing();
            table.row(timing == null
                    ? new String[] {measured.variant().name(), String.valueOf(measured.batch()),
                            String.valueOf(measured.failure()), "", "", "", "", "", "", "", ""}
                    : row(report, measured, timing));
        }
        return String.format(Locale.ROOT,
                "%s, %s: %d tokens of context, prompt of %d; copy %.2f TB/s. Attention is its read rate as a share "
                        + "of the copy rate.%n",
                report.shape(), report.device(), report.context(), report.prompt(), report.copy() / 1e12)
                + table.text("");
    }

    private static String[] row(GenerateReport report, Measured measured, DecodeTiming timing) {
        Measured first = report.measured().stream()
                .filter(other -> other.batch() == measured.batch() && other.timing() != null).findFirst()
                .orElse(measured);
        DecodeTiming against = first.timing();
        return new String[] {measured.variant().name(), String.valueOf(measured.batch()), number(timing.step() * 1e3),
                number(measured.tokensPerSecond()), number(measured.shareOfFloor(report.copy())),
                number(measured.attentionShare(report.copy())), number(timing.linears() * 1e3),
                number(timing.prefill() * 1e3), number(timing.peakBytes() / 1e9),
                number(measured.tokensPerSecond() / first.tokensPerSecond()),
                against == null ? "" : number(timing.peakBytes() / (double) against.peakBytes())};
    }

    private static String number(double value) {
        return String.format(Locale.ROOT, "%.2f", value);
    }
}
