package dev.optgptq.cli.command;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Where results go. */
final class OutputOptions {

    @Option(names = "--output", paramLabel = "DIR", description = {
            "Directory to write. It appears once it is complete. "
                    + "Default: beside the model, named after the settings, such as MODEL-gradient-w4g128"})
    @Nullable
    Path directory;

    @Option(names = "--overwrite", description = "Replace an existing output directory.")
    boolean overwrite;

    @Option(names = "--fresh", description = "Start over: delete what an interrupted run left for this output.")
    boolean fresh;

    @Option(names = "--report", paramLabel = "PLACE", description = {
            "Where report.json and report.html go: a directory, or a "
                    + "prefix for PREFIX.json and PREFIX.html. Default: into the output directory"})
    @Nullable
    String report;

    @Option(names = "--json", description = "Print the report as JSON on standard output, everything else on "
            + "standard error.")
    boolean json;
}
