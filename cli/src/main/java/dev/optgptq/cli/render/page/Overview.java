package dev.optgptq.cli.render.page;

import dev.optgptq.calibrate.eval.Divergence;
import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.report.RunReport;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** The subject of the page, and its main figures. */
final class Overview {

    private static final char NO_BREAK = '\u00A0';

    private Overview() {}

    static String title(RunReport report) {
        return name(report.model().path()) + " at " + bits(report);
    }

    static String name(String path) {
        Path last = Path.of(path).toAbsolutePath().normalize().getFileName();
        return last == null ? path : last.toString();
    }

    private static String bits(RunReport report) {
        return report.command().getOrDefault("--bits", "?") + " bits";
    }

    static Element header(RunReport report) {
        RunReport.Model model = report.model();
        String shape = String.format(Locale.ROOT,
                "%s family, %d blocks, hidden size %d, %s parameters of which %s quantized", model.family(),
                model.blocks(), model.hiddenSize(), Units.count(model.parameters()),
                Units.count(model.quantizedParameters()));
        return Element.of("header").add(Element.of("h1").add(title(report)))
                .add(Html.paragraph("lead", shape))
                .add(Element.of("p", "paths").add(Element.of("code").add(model.path())).add(" \u2192 ")
                        .add(Element.of("code").add(model.output())));
    }

    static Element cards(RunReport report) {
        RunReport.Size size = report.size();
        List<Element> cards = new ArrayList<>();
        cards.add(card("Bits per weight", String.format(Locale.ROOT, "%.2f", size.bitsPerWeight()),
                String.format(Locale.ROOT, "from %.0f", size.bitsBefore())));
        cards.add(card("Size", Units.bytes(size.bytesAfter()), String.format(Locale.ROOT, "%.2f times smaller than %s",
                (double) size.bytesBefore() / Math.max(1, size.bytesAfter()),
                Units.bytes(size.bytesBefore()).replace(' ', NO_BREAK))));
        RunReport.Quality quality = report.quality();
        if (quality != null) {
            Divergence divergence = quality.divergence();
            cards.add(card("KL divergence", Units.small(divergence.kl()), "nats per token, from the original"));
            cards.add(card("Top-1 agreement", String.format(Locale.ROOT, "%.1f %%", 100 * divergence.top1()),
                    "of predictions, with the original"));
            double before = quality.before().perplexity();
            double after = quality.after().perplexity();
            cards.add(card("Perplexity", String.format(Locale.ROOT, "%.3f", after),
                    Units.change(before, after) + " from " + String.format(Locale.ROOT, "%.3f", before)));
        }
        cards.add(card("Time", Units.duration(report.seconds()), "on " + report.machine().device()));
        long peak = report.memory().peakAnonymous();
        if (peak >= 0) {
            cards.add(card("Peak memory", Units.bytes(peak), "anonymous, the JVM included"));
        }
        return Element.of("div", "cards").addAll(cards);
    }

    static Element card(String label, String value, String note) {
        return Element.of("div", "card").add(Element.of("div", "label").add(label))
                .add(Element.of("div", "figure").add(value)).add(Element.of("div", "note").add(note));
    }

    static Element footer(RunReport report) {
        RunReport.Resumed resumed = report.resumed();
        String wentOn = resumed.happened()
                ? ", interrupted, and resumed after " + resumed.blocks() + " blocks at " + resumed.starts().getLast()
                : "";
        return Element.of("footer").add(Html.paragraph("",
                "Written by " + report.tool() + ", started " + report.started() + wentOn
                        + ". All numbers of this page are in report.json (schema version " + report.schemaVersion()
                        + ")."));
    }
}
