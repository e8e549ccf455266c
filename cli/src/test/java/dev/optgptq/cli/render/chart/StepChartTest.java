package dev.optgptq.cli.render.chart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.render.chart.StepChart.Attempt;
import dev.optgptq.cli.render.markup.Element;
import java.util.List;
import org.junit.jupiter.api.Test;

class StepChartTest {

    private static final List<String> STEPS = List.of("first", "second");
    private static final double WHOLE = 210;

    /** From 8 to 6 is a quarter, from 6 to 2 a half, and a quarter is left. */
    @Test
    void parts_of_a_bar_are_what_the_kept_steps_took_off_and_the_rest_what_is_left() {
        Element chart = new StepChart(STEPS, List.of(new Attempt(0, 0, 8, 6, true, "a"),
                new Attempt(1, 0, 6, 2, true, "b"))).svg();
        assertEquals(WHOLE / 4, height(hinted(chart, "bar c0", "a")), 0.1);
        assertEquals(WHOLE / 2, height(hinted(chart, "bar c1", "b")), 0.1);
        assertEquals(WHOLE / 4, height(hinted(chart, "rest", "25 % left")), 0.1);
    }

    @Test
    void a_step_that_was_left_out_took_nothing_off() {
        Element chart = new StepChart(STEPS, List.of(new Attempt(0, 0, 8, 12, false, "a"),
                new Attempt(1, 0, 8, 6, true, "b"))).svg();
        assertEquals(WHOLE / 4, height(hinted(chart, "bar c1", "b")), 0.1);
        assertEquals("path", hinted(chart, "rejected", "a").name());
    }

    @Test
    void losses_that_are_no_numbers_have_squares_and_no_bar() {
        Element chart = new StepChart(STEPS,
                List.of(new Attempt(0, 0, Double.NaN, Double.POSITIVE_INFINITY, false, "a"),
                        new Attempt(1, 1, 0, 0, false, "b")))
                .svg();
        assertTrue(of(chart, "rest").isEmpty());
        assertEquals(2, of(chart, "rejected").size());
    }

    @Test
    void the_whole_model_alone_is_a_plot_too() {
        Element chart = new StepChart(List.of("first"), List.of(new Attempt(0, StepChart.MODEL, 4, 2, true, "a")))
                .svg();
        assertEquals(WHOLE / 2, height(of(chart, "rest").getFirst()), 0.1);
    }

    /** The bar's part comes before the square. */
    private static Element hinted(Element chart, String cssClass, String hint) {
        StringBuilder title = new StringBuilder();
        Element.of("title").add(hint).write(title);
        return of(chart, cssClass).stream().filter(element -> text(element).contains(title)).findFirst().orElseThrow();
    }

    private static List<Element> of(Element chart, String cssClass) {
        return chart.children().stream().filter(Element.class::isInstance).map(Element.class::cast)
                .filter(element -> attribute(element, "class").equals(cssClass)).toList();
    }

    private static double height(Element rect) {
        return Double.parseDouble(attribute(rect, "height"));
    }

    private static String attribute(Element element, String name) {
        return element.attributes().stream().filter(attribute -> attribute.name().equals(name))
                .map(Element.Attribute::value).findFirst().orElse("");
    }

    private static String text(Element element) {
        StringBuilder text = new StringBuilder();
        element.write(text);
        return text.toString();
    }
}
