package dev.optgptq.cli.render;

import dev.optgptq.cli.console.TextTable;
import dev.optgptq.cli.console.Units;
import dev.optgptq.gptq.bench.plan.JobPlan;
import java.util.Locale;

/** The result of bench --plan as text. */
public final class PlanText {

    private PlanText() {}

    public static String of(JobPlan plan) {
        TextTable table = TextTable.of("phase", ">seconds", ">PFLOP", ">GB");
        plan.phases().forEach(phase -> table.row(phase.name(), format(phase.seconds(), "%.1f"),
                phase.operations() > 0 ? format(phase.operations() / 1e15, "%.2f") : "",
                phase.bytes() > 0 ? format(phase.bytes() / 1e9, "%.1f") : ""));
        table.row("total", format(plan.seconds(), "%.1f"), "", "");
        return String.format(Locale.ROOT,
                """
                        planned, not measured: %s, %.1f G parameters, gptq at 4 bits in groups of 128, %d x %d calibration tokens
                        %d x %d cards%s, with rates of: %s

                        """,
                plan.shape(), plan.parameters() / 1e9, plan.samples(), plan.sequenceLength(), plan.nodes(),
                plan.cards(),
                plan.busy() < plan.nodes() * plan.cards() ? ", " + plan.busy() + " at work in forward passes" : "",
                plan.rates()) + table.text("") + "\n" + Units.bytes(plan.device()) + " on each card"
                + (plan.device() > plan.cardMemory()
                        ? ", MORE than the " + Units.bytes(plan.cardMemory()) + " it has, "
                        : ", ")
                + Units.bytes(plan.host()) + " in each node's own memory\n";
    }

    private static String format(double value, String pattern) {
        return String.format(Locale.ROOT, pattern, value);
    }
}
