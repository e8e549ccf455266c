package dev.optgptq.cli.render;

import dev.optgptq.cli.console.TextTable;
import dev.optgptq.cli.console.Units;
import dev.optgptq.gptq.bench.BenchReport.Rates;
import dev.optgptq.gptq.bench.ConvertBenchReport;
import java.util.Locale;

/** The result of bench --convert as text. */
public final class ConvertBenchText {

    private ConvertBenchText() {}

    public static String of(ConvertBenchReport report) {
        Rates rates = report.rates();
        Double half = rates.half();
        ConvertBenchReport.Extent extent = report.extent();
        boolean some = extent.layers() < extent.ofLayers();
        TextTable table = TextTable.of("phase", ">seconds", ">of " + extent.ofLayers() + " layers", ">% of all");
        report.phases().forEach(phase -> table.row(phase.name(), number("%.2f", phase.seconds()),
                number("%.1f", report.whole(phase)),
                number("%.0f", 100 * report.whole(phase) / report.wholeSeconds())));
        table.row("total", number("%.2f", report.seconds()), number("%.1f", report.wholeSeconds()), "");
        return String.format(Locale.ROOT, """
                %s on %s: %s
                %d key-value heads to one; %d x %d calibration tokens; %s
                measured here: float32 %.2f TFLOP/s%s

                """, report.shape(), report.device(), report.deviceDescription(), report.ratio(), report.samples(),
                report.sequenceLength(),
                some
                        ? extent.layers() + " of " + extent.ofLayers() + " layers measured, the others extrapolated"
                        : "all layers measured",
                rates.float32() / 1e12,
                half == null ? "" : ", fp16/bf16 " + number("%.2f", half / 1e12) + " TFLOP/s") + table.text("")
                + healing(report, rates) + "at most " + Units.bytes(report.peakDevice()) + " on the device\n";
    }

    private static String healing(ConvertBenchReport report, Rates rates) {
        ConvertBenchReport.Healing healing = report.healing();
        if (healing == null) {
            return "";
        }
        Double half = rates.half();
        return String.format(Locale.ROOT,
                "%nhealing attention, %d steps of %d x %d tokens: %.0f tokens/s, %.2f TFLOP/s, %.0f %% of the float32 rate%s%n",
                healing.steps(), healing.batch(), healing.length(), healing.tokensPerSecond(), healing.rate() / 1e12,
                100 * healing.rate() / rates.float32(),
                half == null ? "" : ", " + number("%.0f", 100 * healing.rate() / half) + " % of fp16/bf16's");
    }

    private static String number(String pattern, double value) {
        return String.format(Locale.ROOT, pattern, value);
    }
}
