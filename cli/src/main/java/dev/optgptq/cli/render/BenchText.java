package dev.optgptq.cli.render;

import dev.optgptq.cli.console.TextTable;
import dev.optgptq.cli.console.Units;
import dev.optgptq.gptq.bench.BenchReport.Entry;
import dev.optgptq.gptq.bench.BenchReport.Rates;
import dev.optgptq.gptq.bench.BenchReport;
import java.util.List;
import java.util.Locale;

/** The result of bench --shape as text. */
public final class BenchText {

    private BenchText() {}

    public static String of(BenchReport report) {
        Rates rates = report.rates();
        return String.format(Locale.ROOT, """
                %s on %s: %s
                %s, matmul dtype %s; %d x %d calibration tokens, ops with %d tokens
                measured here: float32 %.2f TFLOP/s%s (%d x %d x %d), copy %.1f GB/s, upload %.1f GB/s

                """, report.shape(), report.device(), report.deviceDescription(), report.calibrator(),
                report.products(), report.samples(),
                report.sequenceLength(), report.batchRows(), rates.float32() / 1e12, half(report), rates.size(),
                rates.size(), rates.size(), rates.copy() / 1e9, rates.upload() / 1e9)
                + ops(report.ops()) + "\n" + job(report) + memory(report);
    }

    private static String half(BenchReport report) {
        Double half = report.rates().half();
        return half == null ? "" : String.format(Locale.ROOT, ", fp16/bf16 %.2f TFLOP/s", half / 1e12);
    }

    private static String ops(List<Entry> ops) {
        TextTable table = TextTable.of("op", "size", ">ms", ">TFLOP/s", ">GB/s", ">% of limit");
        ops.forEach(op -> table.row(op.name(), op.size(), format(1e3 * op.seconds(), "%.3f"),
                rate(op.operations(), op.seconds(), 1e12), rate(op.bytes(), op.seconds(), 1e9), share(op)));
        return table.text("");
    }

    private static String job(BenchReport report) {
        TextTable table = TextTable.of("phase", ">seconds", ">TFLOP", ">TFLOP/s", ">limit s", ">% of limit");
        report.job().forEach(phase -> table.row(phase.name(), format(phase.seconds(), "%.2f"),
                phase.operations() > 0 ? format(phase.operations() / 1e12, "%.2f") : "",
                rate(phase.operations(), phase.seconds(), 1e12),
                phase.limit() > 0 ? format(phase.limit(), "%.2f") : "", share(phase)));
        table.row("total", format(report.seconds(), "%.2f"), "", "", "", "");
        return table.text("");
    }

    private static String memory(BenchReport report) {
        return "at most " + Units.bytes(report.memory().peakDevice()) + " on the device, "
                + Units.bytes(report.memory().planned()) + " planned, host included\n";
    }

    private static String rate(double amount, double seconds, double unit) {
        return amount > 0 ? format(amount / seconds / unit, "%.2f") : "";
    }

    private static String share(Entry entry) {
        return entry.limit() > 0 ? format(100 * entry.share(), "%.0f") : "";
    }

    private static String format(double value, String pattern) {
        return String.format(Locale.ROOT, pattern, value);
    }
}
