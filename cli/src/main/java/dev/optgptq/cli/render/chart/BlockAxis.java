package dev.optgptq.cli.render.chart;

import dev.optgptq.cli.render.markup.Element;
import java.util.List;

/** Decoder blocks from left to right, each in the middle of its share of the width. */
record BlockAxis(int blocks, double left, double right) {

    private static final int[] STEPS = {1, 2, 5, 10, 20, 50};
    private static final int MANY = 100;

    double at(int block) {
        return left + (block + 0.5) * spacing();
    }

    /** Width of a block. */
    double spacing() {
        return (right - left) / Math.max(1, blocks);
    }

    /** Block numbers, as many as fit, and below them the name of the axis. */
    void addLabels(List<Element> parts, double top) {
        double label = (Integer.toString(blocks - 1).length() + 2) * Svg.LETTER;
        int every = roundStep((int) Math.ceil(label / spacing()));
        for (int block = 0; block < blocks; block += every) {
            parts.add(Svg.text("tick", at(block), top + 20, "middle", Integer.toString(block)));
        }
        parts.add(Svg.text("axis", (left + right) / 2, top + 40, "middle", "block"));
    }

    private static int roundStep(int atLeast) {
        for (int step : STEPS) {
            if (step >= atLeast) {
                return step;
            }
        }
        return MANY;
    }
}
