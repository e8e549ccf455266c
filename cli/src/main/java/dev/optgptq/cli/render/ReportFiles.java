package dev.optgptq.cli.render;

import dev.optgptq.cli.render.page.ReportPage;
import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.report.RunReport;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** report.json and report.html in a directory. */
public final class ReportFiles {

    private ReportFiles() {}

    /** Creates the directory when it is missing; throws UserError OUTPUT. */
    public static void write(RunReport report, Path directory) {
        try {
            Files.createDirectories(directory);
            Files.writeString(directory.resolve("report.json"), ReportJson.text(report));
            Files.writeString(directory.resolve("report.html"), ReportPage.of(report));
        } catch (IOException e) {
            throw new UserError(UserError.Code.OUTPUT, "the report could not be written to " + directory + ": "
                    + e.getMessage() + "; the checkpoint is complete", e);
        }
    }
}
