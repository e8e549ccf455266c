package dev.optgptq.cli.render;

import dev.optgptq.cli.render.page.ConvertPage;
import dev.optgptq.cli.render.page.ReportPage;
import dev.optgptq.gptq.convert.ConvertReport;
import dev.optgptq.gptq.report.RunReport;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** Where a run's report goes. */
public record ReportFiles(Path json, Path html) {

    /**
     * @param place null for the output directory; an existing directory, or a name that ends in a separator, is a
     *     directory, anything else a prefix, with or without ".html" or ".json"
     */
    public static ReportFiles at(@Nullable String place, Path output) {
        if (place == null) {
            return inside(output);
        }
        if (place.endsWith("/") || place.endsWith(File.separator) || Files.isDirectory(Path.of(place))) {
            return inside(Path.of(place));
        }
        String prefix = place.replaceFirst("\\.(html|json)$", "");
        return new ReportFiles(Path.of(prefix + ".json"), Path.of(prefix + ".html"));
    }

    private static ReportFiles inside(Path directory) {
        return new ReportFiles(directory.resolve("report.json"), directory.resolve("report.html"));
    }

    /** Checks early that both can be written, unless they go into the run's own output. */
    public void prepare(Path output) {
        if (!html.startsWith(output)) {
            TextFile.prepare(json);
            TextFile.prepare(html);
        }
    }

    public void write(RunReport report) {
        TextFile.write(json, ReportJson.text(report));
        TextFile.write(html, ReportPage.of(report));
    }

    public void write(ConvertReport report) {
        TextFile.write(json, ReportJson.text(report));
        TextFile.write(html, ConvertPage.of(report));
    }
}
