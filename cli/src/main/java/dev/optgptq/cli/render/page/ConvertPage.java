package dev.optgptq.cli.render.page;

import dev.optgptq.calibrate.eval.Divergence;
import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.render.chart.BarChart;
import dev.optgptq.cli.render.chart.LineChart;
import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.convert.ConvertReport;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import java.util.stream.Collectors;

/** report.html of a conversion. */
public final class ConvertPage {

    private static final List<String> LAYERS = List.of(">layer", ">KV heads", ">keys lost", ">values lost",
            ">attention KL, merged", ">scores fitted", ">output error", ">values fitted", ">after the MLP",
            ">down projection fitted");
    private static final List<String> POSITIONS = List.of(">layer", "order of heads", ">attention KL, ALiBi alone",
            ">scores fitted", ">output error", ">values fitted", ">after the MLP", ">down projection fitted");

    private ConvertPage() {}

    public static String of(ConvertReport report) {
        List<Element> parts = new ArrayList<>();
        parts.add(header(report));
        if (!report.warnings().isEmpty()) {
            parts.add(Html.section("warnings", "Warnings").with("class", "notice").add(Element.of("ul")
                    .addAll(report.warnings().stream().map(line -> Element.of("li").add(line)).toList())));
        }
        parts.add(Element.of("div", "cards").addAll(cards(report)));
        parts.add(cache(report.cache()));
        if (report.positions() != null) {
            parts.add(positions(report.positions()));
        }
        if (report.budget() != null) {
            parts.add(budget(report.budget()));
        }
        if (!report.layers().isEmpty()) {
            parts.add(layers(report.layers()));
        }
        if (report.healed() != null) {
            parts.add(healing(report.healed()));
        }
        parts.add(settings(report));
        parts.add(Element.of("footer").add(Html.paragraph("", "Written by " + report.tool() + ", started "
                + report.started() + ". Every number on this page is in report.json (schema version "
                + report.schemaVersion() + ").")));
        return Shell.page(title(report), parts);
    }

    private static String title(ConvertReport report) {
        List<Integer> kvHeads = report.layers().stream().map(ConvertReport.Layer::kvHeads).distinct().toList();
        String heads = kvHeads.isEmpty()
                ? ""
                : " with " + kvHeads.stream().map(String::valueOf).collect(Collectors.joining(" to ")) + " KV heads";
        return Overview.name(report.model().path()) + heads + (report.positions() == null ? "" : ", to ALiBi");
    }

    private static Element header(ConvertReport report) {
        ConvertReport.Model model = report.model();
        return Element.of("header").add(Element.of("h1").add(title(report)))
                .add(Html.paragraph("lead", String.format(Locale.ROOT,
                        "%s family, %d blocks, hidden size %d, %d query heads of %d", model.family(), model.blocks(),
                        model.hiddenSize(), model.heads(), model.headDim())))
                .add(Element.of("p", "paths").add(Element.of("code").add(model.path())).add(" \u2192 ")
                        .add(Element.of("code").add(model.output())));
    }

    private static List<Element> cards(ConvertReport report) {
        List<Element> cards = new ArrayList<>();
        cards.add(Overview.card("KV cache", String.format(Locale.ROOT, "%,d B", report.cache().bytesPerTokenAfter()),
                String.format(Locale.ROOT, "a token, from %,d B", report.cache().bytesPerTokenBefore())));
        ConvertReport.Quality quality = report.quality();
        if (quality != null) {
            Divergence divergence = quality.divergence();
            cards.add(Overview.card("KL divergence", Units.small(divergence.kl()),
                    String.format(Locale.ROOT, "nats per token, 95 %% %s to %s", Units.small(divergence.klLow()),
                            Units.small(divergence.klHigh()))));
            cards.add(Overview.card("Top-1 agreement", String.format(Locale.ROOT, "%.1f %%", 100 * divergence.top1()),
                    "of predictions, with the original"));
            cards.add(Overview.card("Perplexity", String.format(Locale.ROOT, "%.3f", quality.after()),
                    Units.change(quality.before(), quality.after()) + " from "
                            + String.format(Locale.ROOT, "%.3f", quality.before())));
        }
        cards.add(Overview.card("Time", Units.duration(report.seconds()), "on " + report.model().device()));
        return cards;
    }

    private static Element cache(ConvertReport.Cache cache) {
        BarChart chart = new BarChart("KV cache of a token before and after",
                List.of(bar("before", cache.bytesPerTokenBefore()), bar("after", cache.bytesPerTokenAfter())));
        return Html.section("cache", "KV cache").add(Element.of("div", "pair").add(Html.figure(chart.svg(),
                "Keys and values of all layers for one token, in 16 bits.")));
    }

    private static BarChart.Bar bar(String name, long bytes) {
        return new BarChart.Bar(name, bytes, String.format(Locale.ROOT, "%,d bytes", bytes));
    }

    private static Element positions(ConvertReport.Positions positions) {
        Element section = Html.section("positions", "Positions");
        String from = "From " + positions.from() + " positions to ALiBi, from the " + positions.start() + " start";
        Double plain = positions.plain();
        Double fitted = positions.fitted();
        if (plain == null || fitted == null) {
            return section.add(Html.paragraph("lead", from + ": standard slopes and nothing else."));
        }
        return section.add(Html.paragraph("lead", String.format(Locale.ROOT,
                "%s: KL divergence on held-out text %s with standard slopes and nothing else, %s with heads in the order of their "
                        + "slopes and every layer fitted, %s.",
                from, Units.small(plain), Units.small(fitted),
                positions.steps() == 0 ? "as they are" : "after " + positions.steps() + " steps of healing")))
                .add(table(POSITIONS, positions.layers().stream()
                        .map(layer -> Element.of("tr").add(count(layer.block()))
                                .add(Html.cell(layer.order().toString()))
                                .add(value(layer.attentionDivergence())).add(value(layer.fittedDivergence()))
                                .addAll(step(layer.values())).addAll(step(layer.down())))
                        .toList()));
    }

    private static Element budget(ConvertReport.Budget budget) {
        List<Integer> counts = List.copyOf(budget.layers().getFirst().divergences().keySet());
        List<String> columns = new ArrayList<>(List.of(">layer", ">chosen"));
        counts.forEach(count -> columns.add(">" + count));
        return Html.section("budget", "KV heads by layer").add(Html.paragraph("lead", String.format(Locale.ROOT,
                "At most %d heads in all layers, where they cost least. By their number: KL divergence from the original on "
                        + "held-out text, nats per token, with this layer alone merged and not yet fitted. What was chosen costs %s "
                        + "in sum.",
                budget.heads(), Units.small(budget.divergence()))))
                .add(table(columns, budget.layers().stream()
                        .map(layer -> Element.of("tr").add(count(layer.block())).add(count(layer.kvHeads()))
                                .addAll(layer.divergences().values().stream().map(ConvertPage::value).toList()))
                        .toList()));
    }

    private static Element layers(List<ConvertReport.Layer> layers) {
        return Html.section("layers", "Merging, layer by layer")
                .add(Html.paragraph("lead", "Lost: the share of the weighted energy that the shared head leaves out. "
                        + "Attention KL: nats per query and head. Errors: of the residual stream, mean square per token. All on "
                        + "sequences that nothing was computed from; a step that did not help there was dropped."))
                .add(table(LAYERS, layers.stream()
                        .map(layer -> Element.of("tr").add(count(layer.block())).add(count(layer.kvHeads()))
                                .add(percent(layer.keyResidual())).add(percent(layer.valueResidual()))
                                .add(value(layer.attentionDivergence()))
                                .add(layer.turns() == 0 ? Html.number("-", -1) : value(layer.fittedDivergence()))
                                .addAll(step(layer.values())).addAll(step(layer.down())))
                        .toList()));
    }

    private static List<Element> step(ConvertReport.@Nullable Step step) {
        if (step == null) {
            return List.of(Html.number("-", -1), Html.number("-", -1));
        }
        return List.of(value(step.errorBefore()),
                step.ridge() == null ? Html.number("-", -1) : value(step.errorAfter()));
    }

    private static Element table(List<String> columns, List<Element> rows) {
        return Html.scrolling(Element.of("table", "sortable").add(Html.tableHead(columns))
                .add(Element.of("tbody").addAll(rows)));
    }

    private static Element count(int n) {
        return Html.number(Integer.toString(n), n);
    }

    private static Element value(double value) {
        return Html.number(Units.small(value), value);
    }

    private static Element percent(double share) {
        return Html.number(String.format(Locale.ROOT, "%.2f %%", 100 * share), share);
    }

    private static Element healing(ConvertReport.Healed healed) {
        LineChart chart = new LineChart("KL divergence on held-out text while healing", "step", healed.curve().stream()
                .map(look -> new LineChart.Point(look.step(), look.divergence(), "after step " + look.step() + ": "
                        + Units.small(look.divergence()) + " nats per token"))
                .toList());
        Element section = Html.section("healing", "Healing")
                .add(Html.paragraph("lead", String.format(Locale.ROOT,
                        "KL divergence from the original on held-out text: %s \u2192 %s nats per token in %d of %d steps, with "
                                + "a rate of %.1e.",
                        Units.small(healed.before()), Units.small(healed.after()), healed.steps(), healed.planned(),
                        healed.rate())))
                .add(Html.figure(Html.scrolling(chart.svg()),
                        "What diverges least, rounded as it is stored, was kept. The last look need not be it."));
        if (healed.trials().isEmpty()) {
            return section;
        }
        return section.add(table(List.of(">rate", ">KL divergence after a short trial"), healed.trials().stream()
                .map(trial -> Element.of("tr")
                        .add(Html.number(String.format(Locale.ROOT, "%.0e", trial.rate()), trial.rate()))
                        .add(trial.divergence() == null ? Html.number("not finite") : value(trial.divergence())))
                .toList()));
    }

    private static Element settings(ConvertReport report) {
        List<Element> rows = report.command().entrySet().stream()
                .map(entry -> Element.of("tr").add(Html.code(entry.getKey())).add(Html.cell(entry.getValue())))
                .toList();
        ConvertReport.Quality quality = report.quality();
        String measured = quality == null
                ? "Not measured in this run (--eval none)."
                : String.format(Locale.ROOT,
                        "Measured on %s, %d windows of %d tokens; cross-entropy changed by %+.5f nats per token (95 %% %+.5f to "
                                + "%+.5f).",
                        quality.text(), quality.windows(), quality.window(), quality.difference(),
                        quality.differenceLow(), quality.differenceHigh());
        return Html.section("settings", "Settings").add(Html.paragraph("muted", measured))
                .add(Html.scrolling(Element.of("table").add(Element.of("tbody").addAll(rows))));
    }
}
