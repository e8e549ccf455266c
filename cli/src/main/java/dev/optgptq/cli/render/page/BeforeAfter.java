package dev.optgptq.cli.render.page;

import dev.optgptq.calibrate.eval.Divergence;
import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.render.chart.BarChart;
import dev.optgptq.cli.render.chart.IntervalChart.Interval;
import dev.optgptq.cli.render.chart.IntervalChart;
import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.report.Ablation;
import dev.optgptq.gptq.report.RunReport;
import java.util.List;
import java.util.Locale;

/** Size and perplexity, before and after. */
final class BeforeAfter {

    private BeforeAfter() {}

    static Element of(RunReport report) {
        Element pair = Element.of("div", "pair").add(size(report));
        RunReport.Quality quality = report.quality();
        return Html.section("before-after", "Before and after")
                .add(pair.add(quality == null ? unmeasured() : perplexity(quality)));
    }

    private static Element size(RunReport report) {
        RunReport.Size size = report.size();
        BarChart chart = new BarChart("Size of the tensors before and after",
                List.of(new BarChart.Bar("before", size.bytesBefore(), Units.bytes(size.bytesBefore())),
                        new BarChart.Bar("after", size.bytesAfter(), Units.bytes(size.bytesAfter()))));
        return titled("Size", Html.figure(chart.svg(), String.format(Locale.ROOT,
                "All tensors. A quantized weight takes %.2f bits with its share of scales and zero points, before it "
                        + "took %.0f; %s.",
                size.bitsPerWeight(), size.bitsBefore(),
                learnsNorms(report)
                        ? "embeddings and the head are unchanged, and the learned norms keep their size"
                        : "embeddings, norms and the head are unchanged")));
    }

    private static boolean learnsNorms(RunReport report) {
        Ablation ablation = report.ablation();
        return ablation != null && "true".equals(report.command().get("--tune-norms"))
                && ablation.steps().stream().anyMatch(step -> step.block() == null && step.kept());
    }

    private static Element perplexity(RunReport.Quality quality) {
        IntervalChart chart = new IntervalChart("Perplexity before and after",
                List.of(interval("before", quality.before()), interval("after", quality.after())));
        Divergence divergence = quality.divergence();
        return titled("Perplexity", Html.figure(chart.svg(), String.format(Locale.ROOT,
                "%s, %d windows of %d tokens, the same for both models. Whiskers: 95 %% confidence intervals over "
                        + "windows; that of the change, paired, is %+.2f to %+.2f %%. Perplexity may move either way "
                        + "in a small model, KL divergence cannot: %s nats per token (95 %% %s to %s), 99th "
                        + "percentile %s.",
                quality.text(), quality.windows(), quality.window(), 100 * quality.change().increaseLow(),
                100 * quality.change().increaseHigh(), Units.small(divergence.kl()), Units.small(divergence.klLow()),
                Units.small(divergence.klHigh()), Units.small(divergence.klPercentile99()))));
    }

    private static Interval interval(String name, RunReport.Score score) {
        return new Interval(name, score.perplexity(), score.low(), score.high(), Units.perplexity(score.perplexity()));
    }

    private static Element unmeasured() {
        return titled("Perplexity", Html.paragraph("muted",
                "Not measured in this run (--eval none). \u201Copt-gptq eval perplexity\u201D measures it later."));
    }

    private static Element titled(String title, Element content) {
        return Element.of("div").add(Element.of("h3").add(title)).add(content);
    }
}
