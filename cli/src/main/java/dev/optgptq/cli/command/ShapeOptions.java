package dev.optgptq.cli.command;

import dev.optgptq.gptq.settings.SettingChecks;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;

/** What bench --shape measures. */
final class ShapeOptions {

    private static final List<String> OF_SHAPES = List.of("--samples", "--sequence-length", "--calibrator",
            "--precision",
            "--json");

    @Option(names = "--shape", paramLabel = "NAME", description = {
            "tiny, tinyllama, llama-7b, llama-405b, deepseek-671b, or the path of a model's config.json: builds random weights of that shape in memory, "
                    + "quantizes them as quantize does, and times each op"})
    @Nullable
    String shape;

    @Option(names = "--samples", paramLabel = "N", description = "Calibration sequences. Default: 128")
    int samples = 128;

    @Option(names = "--sequence-length", paramLabel = "N", description = "Tokens in each. Default: 2048, or the "
            + "shape's maximum if shorter")
    @Nullable
    Integer sequenceLength;

    @Option(names = "--calibrator", paramLabel = "NAME", description = {
            "As in quantize: rtn, gptq or gradient. Default: gptq"})
    CalibratorKind calibrator = CalibratorKind.GPTQ;

    @Option(names = "--precision", paramLabel = "NAME", description = {
            "As in quantize: auto, float32 or half. Default: auto"})
    Precision precision = Precision.AUTO;

    @Option(names = "--json", paramLabel = "FILE", description = "Also write the numbers to this file, as JSON")
    @Nullable
    Path json;

    void check() {
        SettingChecks.atLeast(1, "--samples", samples);
        if (sequenceLength != null) {
            SettingChecks.atLeast(2, "--sequence-length", sequenceLength);
        }
    }

    /** UserError BAD_SETTING for an option of --shape given with a report. */
    void checkIdle(ParseResult parsed, boolean shaped) {
        for (String option : OF_SHAPES) {
            SettingChecks.require(shaped || !parsed.hasMatchedOption(option), option, "a REPORT_JSON",
                    "--shape, the only mode that uses it");
        }
    }

    int sequenceLength(int maxPositions) {
        return sequenceLength != null ? sequenceLength : Math.min(2048, maxPositions);
    }
}
