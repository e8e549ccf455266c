package dev.optgptq.cli.render.page;

import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.render.chart.Marker;
import dev.optgptq.cli.render.chart.StepChart;
import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.report.Ablation.Step;
import dev.optgptq.gptq.report.Ablation.Total;
import dev.optgptq.gptq.report.Ablation;
import dev.optgptq.gptq.report.RunReport;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Where each step beyond plain GPTQ was kept, what it gained and what it cost. */
final class StepsBought {

    /** Longer lists start folded. */
    private static final int MANY = 60;
    private static final String READING = "Each bar starts at 100 %: for a block the loss with plain GPTQ, for the "
            + "whole model the loss after all blocks. Coloured parts are reductions by a step, the grey part is what "
            + "remains. Squares below: filled where the step was kept, crossed where it was dropped because it did "
            + "not help on the held-out text. Hover over any of them for its numbers.";
    private static final List<String> COLUMNS = List.of("step", "where", ">before", ">after", ">change", "decision",
            ">time");

    private StepsBought() {}

    /** Empty for a run without steps. */
    static List<Element> of(RunReport report) {
        Ablation ablation = report.ablation();
        if (ablation == null || ablation.steps().isEmpty()) {
            return List.of();
        }
        List<String> names = ablation.totals().stream().map(Total::name).toList();
        Element chart = new StepChart(names, attempts(ablation.steps(), names)).svg();
        return List.of(Html.section("ablation", "What each step gained")
                .add(Html.paragraph("lead", lead(ablation)))
                .add(Html.figure(Html.scrolling(chart), READING))
                .add(Html.scrolling(totals(ablation)))
                .add(allSteps(ablation.steps())));
    }

    private static String lead(Ablation ablation) {
        List<Step> blocks = ablation.steps().stream().filter(step -> step.block() != null).toList();
        List<Step> model = ablation.steps().stream().filter(step -> step.block() == null).toList();
        return String.format(Locale.ROOT,
                "%d of %d steps were kept. Each was validated on %s, %,d held-out tokens: %s.",
                ablation.steps().stream().filter(Step::kept).count(), ablation.steps().size(),
                ablation.text(), ablation.tokens(),
                Stream.of(measured("in a block", blocks), measured("over the whole model", model))
                        .filter(words -> !words.isEmpty()).collect(Collectors.joining("; ")));
    }

    private static String measured(String where, List<Step> steps) {
        if (steps.isEmpty()) {
            return "";
        }
        return where + " by the " + steps.stream().map(Step::unit).distinct().collect(Collectors.joining(", or the "))
                + String.format(Locale.ROOT, ", which fell by %.1f %%%s", 100 * (1 - left(steps)),
                        steps.stream().map(Step::block).distinct().count() > 1 ? " on average" : "");
    }

    /** Mean over scopes of the last loss divided by the first one's, over the kept steps. */
    private static double left(List<Step> steps) {
        Map<String, Double> shares = steps.stream().collect(Collectors.groupingBy(Step::scope, Collectors.reducing(1.0,
                step -> step.kept() && Double.isFinite(step.change()) ? 1 + step.change() : 1, (a, b) -> a * b)));
        return shares.values().stream().mapToDouble(Double::doubleValue).average().orElse(1);
    }

    private static List<StepChart.Attempt> attempts(List<Step> steps, List<String> names) {
        List<StepChart.Attempt> attempts = new ArrayList<>();
        for (Step step : steps) {
            Integer block = step.block();
            attempts.add(new StepChart.Attempt(names.indexOf(step.name()), block == null ? StepChart.MODEL : block,
                    step.lossBefore(), step.lossAfter(), step.kept(), hint(step)));
        }
        return attempts;
    }

    private static String hint(Step step) {
        String note = step.note();
        return step.name() + ", " + step.scope() + ": " + Units.small(step.lossBefore()) + " \u2192 "
                + Units.small(step.lossAfter()) + (change(step).isEmpty() ? "" : " (" + change(step) + ")") + ", "
                + decision(step) + ", " + Units.duration(step.seconds()) + (note == null ? "" : "; " + note);
    }

    private static String decision(Step step) {
        return step.kept() ? "kept" : "dropped";
    }

    private static String change(Step step) {
        return Double.isFinite(step.change()) ? Units.change(step.lossBefore(), step.lossAfter()) : "";
    }

    private static Element totals(Ablation ablation) {
        List<Total> totals = ablation.totals();
        boolean shares = totals.stream().anyMatch(total -> total.shareOfPlainGptqTime() != null);
        boolean losses = ablation.plainGptqLoss() != null || ablation.quantizedLoss() != null
                || totals.stream().anyMatch(total -> total.heldOutLoss() != null);
        List<String> columns = new ArrayList<>(List.of("step", ">kept in", ">mean change", ">time"));
        columns.addAll(shares ? List.of(">of plain GPTQ\u2019s time") : List.of());
        columns.addAll(losses ? List.of(">" + ablation.unit()) : List.of());
        Element body = Element.of("tbody").addAll(reference("unquantized", ablation.unquantizedLoss(), shares))
                .addAll(reference("plain GPTQ", ablation.plainGptqLoss(), shares));
        for (int i = 0; i < totals.size(); i++) {
            body = body.add(total(totals.get(i), i, shares, losses));
        }
        body = body.addAll(reference("this checkpoint", ablation.quantizedLoss(), shares));
        return Element.of("table", "totals").add(Html.tableHead(columns)).add(body);
    }

    /** A reference row, where its loss is known. */
    private static List<Element> reference(String name, @Nullable Double loss, boolean shares) {
        if (loss == null) {
            return List.of();
        }
        Element row = Element.of("tr", "reference").add(Html.cell(name)).add(Html.number("")).add(Html.number(""))
                .add(Html.number(""));
        return List.of((shares ? row.add(Html.number("")) : row).add(loss(loss)));
    }

    private static Element total(Total total, int series, boolean shares, boolean losses) {
        Double share = total.shareOfPlainGptqTime();
        Element name = Element.of("td").add(Element.of("span", "block " + Marker.color(series))).add(total.name());
        Element row = (total.keptIn() == 0 ? Element.of("tr", "rejected") : Element.of("tr")).add(name)
                .add(Html.number(total.keptIn() + " of " + total.of()))
                .add(Html.number(total.keptIn() == 0 ? "none" : Units.change(1, 1 + total.meanChange())))
                .add(Html.number(Units.duration(total.seconds())));
        if (shares) {
            row = row.add(Html.number(share == null ? "" : String.format(Locale.ROOT, "%.0f %%", 100 * share)));
        }
        return losses ? row.add(loss(total.heldOutLoss())) : row;
    }

    private static Element loss(@Nullable Double loss) {
        return Html.number(loss == null ? "" : Units.small(loss));
    }

    private static Element allSteps(List<Step> steps) {
        boolean noted = steps.stream().anyMatch(step -> step.note() != null);
        List<String> columns = new ArrayList<>(COLUMNS);
        if (noted) {
            columns.add("note");
        }
        Element table = Element.of("table", "sortable").add(Html.tableHead(columns))
                .add(Element.of("tbody").addAll(steps.stream().map(step -> row(step, noted)).toList()));
        Element fold = Element.of("details");
        return (steps.size() <= MANY ? fold.with("open", "") : fold)
                .add(Element.of("summary").add("Every step, " + steps.size())).add(Html.scrolling(table));
    }

    private static Element row(Step step, boolean noted) {
        String note = step.note();
        Element decision = Element.of("td").add(Element.of("span", step.kept() ? "badge kept" : "badge")
                .add(decision(step)));
        Element row = (step.kept() ? Element.of("tr") : Element.of("tr", "rejected")).add(Html.cell(step.name()))
                .add(Html.cell(step.scope())).add(value(Units.small(step.lossBefore()), step.lossBefore()))
                .add(value(Units.small(step.lossAfter()), step.lossAfter())).add(value(change(step), step.change()))
                .add(decision).add(value(Units.duration(step.seconds()), step.seconds()));
        return noted ? row.add(Html.cell(note == null ? "" : note)) : row;
    }

    /** Missing numbers sort as the largest. */
    private static Element value(String text, double value) {
        return Html.number(text, Double.isNaN(value) ? Double.MAX_VALUE : value);
    }
}
