package dev.optgptq.cli.command;

import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** What the calibrator sees. */
final class CalibrationOptions {

    /** The bundled text has about 100,000 tokens; 128 sequences of 512 fit. */
    private static final int BUNDLED_LENGTH = 512;
    private static final int LENGTH = 2048;

    @Option(names = "--calibration", paramLabel = "FILE", description = {
            "Text like what the model will see: .txt, or .jsonl with a "
                    + "\"text\" in each line. Default: WikiText-2, bundled"})
    @Nullable
    Path file;

    @Option(names = "--sampling", paramLabel = "HOW", description = {
            "random: sequences from random places, by --seed. sequential: the first ones. Default: random"})
    Sampling sampling = Sampling.RANDOM;

    @Option(names = "--samples", paramLabel = "N", description = {
            "Calibration sequences. Time and activation memory grow with "
                    + "them. Default: 128"})
    int samples = 128;

    @Option(names = "--sequence-length", paramLabel = "N", description = {
            "Tokens in each. Default: 2048, or what the model "
                    + "takes; 512 with the bundled text"})
    @Nullable
    Integer sequenceLength;

    @Option(names = "--seed", paramLabel = "N", description = "Of random sampling. Default: 0")
    long seed;

    @Option(names = "--precision", paramLabel = "NAME", description = {
            "What the linear layers multiply while calibrating; sums, solving and evaluating are in float32. half: float16 or "
                    + "bfloat16, as the model is stored, on a GPU's matrix units; a processor has float32 only. auto: half where "
                    + "the model is stored so and the GPU is made for it. Default: auto"})
    Precision precision = Precision.AUTO;

    void check() {
        Checks.atLeast(1, "--samples", samples);
        if (sequenceLength != null) {
            Checks.atLeast(2, "--sequence-length", sequenceLength);
        }
    }

    /** @param maxPositions the longest sequence the model was made for */
    int sequenceLength(int maxPositions) {
        if (sequenceLength != null) {
            return sequenceLength;
        }
        return Math.min(file == null ? BUNDLED_LENGTH : LENGTH, maxPositions);
    }
}
