package dev.optgptq.cli.render.chart;

import dev.optgptq.cli.render.markup.Element;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * The share of the loss that is left after each of several consecutive steps: one bar per block and one for the whole
 * model, whose coloured parts are the reductions by the steps that were kept. A row per step below the bars shows where
 * it was tried: a filled square where it was kept, a crossed one where it was dropped.
 *
 * @param steps their names, in the order of their colours
 * @param attempts in the order they were made
 */
public record StepChart(List<String> steps, List<Attempt> attempts) {

    /** Block number that stands for the whole model. */
    public static final int MODEL = -1;

    private static final double WIDTH = 960;
    private static final double RIGHT = 8;
    private static final double TOP = 30;
    private static final double BARS = 210;
    private static final double GAP = 12;
    private static final double ROW = 24;
    private static final double BOTTOM = 46;
    private static final double MODEL_WIDTH = 84;
    private static final double MOST_BAR = 46;
    private static final double MOST_SQUARE = 14;
    /** Below this size a cross is drawn without its frame. */
    private static final double LEAST_FRAME = 8;
    private static final int LONGEST_NAME = 28;
    private static final int PERCENT = 100;

    /**
     * One step, tried once.
     *
     * @param series index of its name
     * @param block from 0, or MODEL
     * @param before the loss without it
     * @param after the loss with it
     * @param hint its tooltip
     */
    public record Attempt(int series, int block, double before, double after, boolean kept, String hint) {}

    public Element svg() {
        int blocks = attempts.stream().mapToInt(Attempt::block).max().orElse(MODEL) + 1;
        boolean model = attempts.stream().anyMatch(attempt -> attempt.block() == MODEL);
        double left = steps.stream().mapToInt(name -> shortened(name).length()).max().orElse(0) * Svg.LETTER + 40;
        double right = WIDTH - RIGHT - (model ? MODEL_WIDTH : 0);
        BlockAxis across = new BlockAxis(blocks, left, blocks > 0 ? right : left);
        Scale up = new Scale.Linear(0, PERCENT, 25, TOP + BARS, TOP);
        double bottom = TOP + BARS + GAP + steps.size() * ROW;
        List<Element> parts = new ArrayList<>();
        addGrid(parts, up, left);
        addNames(parts, left);
        for (int block = 0; block < blocks; block++) {
            addColumn(parts, block, across.at(block), across.spacing(), up);
        }
        if (blocks > 0) {
            across.addLabels(parts, bottom);
        }
        if (model) {
            double x = blocks > 0 ? WIDTH - RIGHT - MODEL_WIDTH / 2 : left + MODEL_WIDTH / 2;
            addColumn(parts, MODEL, x, MODEL_WIDTH, up);
            parts.add(Svg.text("tick", x, bottom + 20, "middle", "whole model"));
        }
        return Svg.chart(WIDTH, bottom + BOTTOM, "What each step gained", description()).addAll(parts);
    }

    private static void addGrid(List<Element> parts, Scale up, double left) {
        parts.add(Svg.text("axis", left, TOP - 14, "start", "share of the loss that remains"));
        for (Scale.Tick tick : up.ticks()) {
            double y = up.at(tick.value());
            parts.add(Svg.line("grid", left, y, WIDTH - RIGHT, y));
            parts.add(Svg.text("tick", left - 8, y + 4, "end", tick.label() + " %"));
        }
    }

    /** Each step's row, with its colour. */
    private void addNames(List<Element> parts, double left) {
        for (int series = 0; series < steps.size(); series++) {
            double y = row(series);
            parts.add(Svg.rect("bar " + Marker.color(series), left - 20, y - 5, 10, 10));
            parts.add(Svg.tooltip(Svg.text("axis", left - 28, y + 4, "end", shortened(steps.get(series))),
                    steps.get(series)));
        }
    }

    private static String shortened(String name) {
        return name.codePointCount(0, name.length()) <= LONGEST_NAME
                ? name
                : name.substring(0, name.offsetByCodePoints(0, LONGEST_NAME - 1)) + "\u2026";
    }

    /** Middle of a step's row. */
    private static double row(int series) {
        return TOP + BARS + GAP + (series + 0.5) * ROW;
    }

    private void addColumn(List<Element> parts, int block, double x, double room, Scale up) {
        List<Attempt> mine = attempts.stream().filter(attempt -> attempt.block() == block).toList();
        if (!mine.isEmpty()) {
            addBar(parts, mine, x, Math.min(MOST_BAR, 0.72 * room), up);
            mine.forEach(attempt -> addSquare(parts, attempt, x, Math.min(MOST_SQUARE, 0.72 * room)));
        }
    }

    /** From the top the reduction by each kept step, below it what is left; empty if the first loss is not positive. */
    private void addBar(List<Element> parts, List<Attempt> attempts, double x, double width, Scale up) {
        double whole = attempts.getFirst().before();
        if (!(whole > 0) || !Double.isFinite(whole)) {
            return;
        }
        double left = PERCENT;
        for (Attempt attempt : attempts) {
            double after = PERCENT * attempt.after() / whole;
            if (attempt.kept() && Double.isFinite(after)) {
                Element part = Svg.rect("bar " + Marker.color(attempt.series()), x - width / 2, up.at(left), width,
                        Math.max(0, up.at(after) - up.at(left)));
                parts.add(Svg.tooltip(part, attempt.hint()));
                left = after;
            }
        }
        String label = String.format(Locale.ROOT, "%.0f %%", left);
        Element rest = Svg.rect("rest", x - width / 2, up.at(left), width, up.at(0) - up.at(left));
        parts.add(Svg.tooltip(rest, label + " left"));
        if (label.length() * Svg.LETTER <= width && up.at(0) - up.at(left) > ROW) {
            parts.add(Svg.text("remains", x, up.at(left) + 16, "middle", label));
        }
    }

    private static void addSquare(List<Element> parts, Attempt attempt, double x, double size) {
        double y = row(attempt.series());
        double half = size / 2;
        if (attempt.kept()) {
            parts.add(Svg.tooltip(Svg.rect("bar " + Marker.color(attempt.series()), x - half, y - half, size, size),
                    attempt.hint()));
            return;
        }
        String cross = path("M%1$.1f,%3$.1f L%2$.1f,%4$.1f M%1$.1f,%4$.1f L%2$.1f,%3$.1f", x, y, half);
        String frame = path(" M%1$.1f,%3$.1f H%2$.1f V%4$.1f H%1$.1f Z", x, y, half);
        parts.add(Svg.tooltip(Element.of("path", "rejected").with("d", size < LEAST_FRAME ? cross : cross + frame),
                attempt.hint()));
    }

    /** @param form of the left, right, upper and lower edge around the middle */
    private static String path(String form, double x, double y, double half) {
        return String.format(Locale.ROOT, form, x - half, x + half, y - half, y + half);
    }

    private String description() {
        return steps.stream().map(name -> {
            List<Attempt> mine = attempts.stream().filter(attempt -> steps.get(attempt.series()).equals(name)).toList();
            return name + ": kept in " + mine.stream().filter(Attempt::kept).count() + " of " + mine.size();
        }).collect(Collectors.joining("; ", "", ". The table below has every value."));
    }
}
