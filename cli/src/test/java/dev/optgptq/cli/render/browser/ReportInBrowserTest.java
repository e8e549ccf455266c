package dev.optgptq.cli.render.browser;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.render.Reports;
import dev.optgptq.cli.render.page.ReportPage;
import dev.optgptq.gptq.report.RunReport;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/** report.html as a browser shows it. Pictures of every case lie in target/screenshots, to be looked at. */
class ReportInBrowserTest {

    /** Of the page, and of the tab that the browser opens with. */
    private static final Pattern INSIDE = Pattern.compile("file:|data:|chrome:");
    private static final Path PICTURES = Path.of("target/screenshots");
    /** A4 less the margins that browsers leave, in CSS pixels. */
    private static final int PAPER = 718;

    /** Charts without a size, and pairs of labels of one chart that overlap by more than a hair. */
    private static final String CHART_FAULTS = """
            const faults = [];
            for (const chart of document.querySelectorAll("svg.chart")) {
              const name = chart.getAttribute("aria-label").split(".")[0];
              const size = chart.getBoundingClientRect();
              if (size.width < 100 || size.height < 20) faults.push(name + " is " + size.width + " x " + size.height);
              const labels = [...chart.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
              labels.forEach(([text, a], i) => labels.slice(i + 1).forEach(([other, b]) => {
                const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
                const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
                if (x > 1 && y > 3) faults.push(name + ": " + text + " over " + other);
              }));
              labels.forEach(([text, a]) => {
                if (a.left < size.left - 2 || a.right > size.right + 2) faults.push(name + ": " + text + " leaves the chart");
              });
            }
            return JSON.stringify(faults);
            """;

    /** How much wider than its window the page is, and which boxes that should not scroll do. */
    private static final String OVERFLOW = """
            const faults = [];
            const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
            if (wide > 0) faults.push("the page by " + wide);
            for (const box of document.querySelectorAll(".card, .pair > div, header")) {
              const over = box.scrollWidth - box.clientWidth;
              if (over > 1) faults.push(box.className + " by " + over);
            }
            return JSON.stringify(faults);
            """;

    private static final String CUT_ON_PAPER = """
            const faults = [];
            for (const box of document.querySelectorAll(".scroll, section, main")) {
              const over = box.scrollWidth - box.clientWidth;
              if (over > 1) faults.push((box.id || box.className || box.tagName) + " by " + over);
            }
            return JSON.stringify(faults);
            """;

    /** The contrast of every piece of text with what is behind it, where it is below WCAG's 4.5. */
    private static final String FAINT = """
            const part = value => { const c = value / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
            const light = rgb => 0.2126 * part(rgb[0]) + 0.7152 * part(rgb[1]) + 0.0722 * part(rgb[2]);
            const numbers = css => css.match(/[\\d.]+/g).map(Number);
            const ground = element => {
              for (let at = element; at; at = at.parentElement) {
                const rgb = numbers(getComputedStyle(at).backgroundColor);
                if (rgb.length < 4 || rgb[3] > 0) return rgb;
              }
              return [255, 255, 255];
            };
            const faults = new Set();
            for (const element of document.querySelectorAll("h1, h2, h3, p, td, th, code, figcaption, .label, .figure, .note, .badge, svg text:not(.inside):not(.remains)")) {
              const style = getComputedStyle(element);
              const ink = light(numbers(element.closest("svg") ? style.fill : style.color)), paper = light(ground(element));
              const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
              if (contrast < 4.5) faults.add(element.tagName + "." + element.getAttribute("class") + " " + contrast.toFixed(2));
            }
            return JSON.stringify([...faults]);
            """;

    @TempDir
    static Path directory;
    private static Browser browser;

    @BeforeAll
    static void open() throws IOException {
        browser = Browser.open(directory.resolve("profile"));
        Map<String, RunReport> reports = Map.of("sound", Reports.sound(6), "refined", Reports.refined(6), "many-blocks",
                Reports.refined(80), "troubled", Reports.troubled(), "unevaluated", Reports.unevaluated());
        for (Map.Entry<String, RunReport> report : reports.entrySet()) {
            Files.writeString(page(report.getKey()), ReportPage.of(report.getValue()));
        }
    }

    @AfterAll
    static void close() {
        if (browser != null) {
            browser.close();
        }
    }

    private static Path page(String name) {
        return directory.resolve(name + ".html");
    }

    @ParameterizedTest(name = "{0}, {1} px wide, dark: {2}")
    @CsvSource({"sound, 1280, false", "sound, 400, true", "refined, 1280, true", "refined, 400, false",
            "refined, 800, false", "many-blocks, 1280, false", "many-blocks, 400, true", "troubled, 1280, true",
            "troubled, 400, false", "unevaluated, 1280, false"})
    void it_is_whole_at_any_width_by_day_and_by_night(String report, int width, boolean dark) throws IOException {
        browser.requests();
        browser.show(page(report), width, dark);
        browser.picture(PICTURES.resolve(report + "-" + width + (dark ? "-dark" : "-light") + ".png"));
        assertEquals(List.of(), browser.console(), "the console");
        assertEquals(List.of(), browser.requests().stream().filter(url -> !INSIDE.matcher(url).lookingAt()).toList(),
                "requests that leave the page");
        assertEquals("[]", browser.run(CHART_FAULTS).toString(), "charts");
        assertEquals("[]", browser.run(OVERFLOW).toString(), "wider than their place");
        assertEquals("[]", browser.run(FAINT).toString(), "text without contrast");
        int ground = browser.run("return JSON.stringify(Number(getComputedStyle(document.body).backgroundColor"
                + ".match(/\\d+/)[0]))").asInt();
        assertEquals(dark, ground < 128, () -> "the page's ground is " + ground);
    }

    @ParameterizedTest
    @ValueSource(strings = {"sound", "refined", "many-blocks", "troubled"})
    void nothing_is_cut_on_paper(String report) throws IOException {
        browser.show(page(report), 1280, true);
        browser.print(PICTURES.resolve(report + ".pdf"));
        browser.asPrinted(PAPER);
        assertEquals("[]", browser.run(CUT_ON_PAPER).toString(), "cut on A4");
        assertEquals("[]", browser.run(CHART_FAULTS).toString(), "charts");
        assertEquals("[]", browser.run(FAINT).toString(), "text without contrast: paper is white by night too");
    }

    @ParameterizedTest
    @ValueSource(ints = {400, 1280})
    void a_click_on_a_column_sorts_by_it_and_another_the_other_way(int width) {
        browser.show(page("sound"), width, false);
        String click = "document.querySelectorAll('#layers th button')[2].click();"
                + "return JSON.stringify([...document.querySelectorAll('#layers tbody tr')].map(r => Number(r.cells[2].dataset.value)));";
        JsonNode falling = browser.run(click);
        assertTrue(falling.size() > 10, falling::toString);
        for (int i = 1; i < falling.size(); i++) {
            assertTrue(falling.get(i - 1).asDouble() >= falling.get(i).asDouble(), falling::toString);
        }
        assertNotEquals(falling, browser.run(click), "the second click");
    }
}
