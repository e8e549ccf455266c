package dev.optgptq.cli.command;

import dev.optgptq.gptq.bench.ConvertBench;
import dev.optgptq.gptq.bench.ModelShape;
import dev.optgptq.gptq.settings.SettingChecks;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.kernels.Device;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;

/** What bench --convert measures. */
final class BenchConvertOptions {

    private static final List<String> OF_CONVERT = List.of("--ratio", "--layers", "--heal", "--heal-batch",
            "--heal-length");
    private static final int HEAL_LENGTH = 512;

    @Option(names = "--convert", description = "Measure convert-gqa with random weights, phase by phase, instead of quantizing.")
    boolean convert;

    @Option(names = "--ratio", paramLabel = "R", description = "Key-value heads that become one. Default: 2")
    private int ratio = 2;

    @Option(names = "--layers", paramLabel = "N", description = "Layers to measure; the times of the others are "
            + "extrapolated. Default: 1, all with --heal")
    private @Nullable Integer layers;

    @Option(names = "--heal", paramLabel = "STEPS", description = "Steps of healing to measure, of the projections of "
            + "attention; 0 for none. Default: 0")
    private int steps;

    @Option(names = "--heal-batch", paramLabel = "N", description = "Sequences in each step. Default: 8")
    private int batch = 8;

    @Option(names = "--heal-length", paramLabel = "N", description = "Tokens in each sequence. Default: 512, or the "
            + "shape's maximum if shorter")
    private @Nullable Integer length;

    /** UserError BAD_SETTING for an option of --convert without it. */
    void checkIdle(ParseResult parsed) {
        for (String option : OF_CONVERT) {
            SettingChecks.require(convert || !parsed.hasMatchedOption(option), option, "no --convert",
                    "it, the only mode that uses that");
        }
    }

    ConvertBench bench(ModelShape shape, Device device, int samples, int sequenceLength, Precision precision) {
        SettingChecks.atLeast(1, "--ratio", ratio);
        SettingChecks.atLeast(0, "--heal", steps);
        SettingChecks.atLeast(1, "--heal-batch", batch);
        int most = shape.spec().maxPositions();
        int wanted = length == null ? Math.min(HEAL_LENGTH, most) : length;
        SettingChecks.atLeast(2, "--heal-length", wanted);
        int measured = layers == null ? steps > 0 ? shape.spec().blocks() : 1 : layers;
        SettingChecks.atLeast(1, "--layers", measured);
        return new ConvertBench(shape, measured, device, ratio, samples, sequenceLength,
                new ConvertBench.Heal(steps, batch, wanted, precision));
    }
}
