package dev.optgptq.cli.command;

import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.solve.ActOrder;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** What the quantized weights are, and how their codes are chosen. */
final class GridOptions {

    private static final List<Integer> BITS = List.of(2, 3, 4, 8);
    /** Of coordinate descent in gradient calibration. */
    private static final int SWEEPS = 2;

    @Option(names = "--calibrator", paramLabel = "NAME", description = {
            "gradient: gptq with searched scales, tokens weighed by the loss's gradient and errors made up for, each kept "
                    + "where it helps; three to four times as long. gptq: minimizes each layer's output error over calibration text, as "
                    + "published. rtn: rounds to nearest; seconds, no text, worse. Default: gradient"})
    CalibratorKind calibrator = CalibratorKind.GRADIENT;

    @Option(names = "--bits", paramLabel = "N", description = {
            "Bits per code: 2, 3, 4 or 8. 4 is the usual choice; 3 and 2 cost "
                    + "quality and load in fewer runtimes. Default: 4"})
    int bits = 4;

    @Option(names = "--group-size", paramLabel = "N", description = {
            "Inputs that share a scale: 32, 64, 128, any divisor of the "
                    + "layers' inputs, or -1 for all. Smaller is better and larger on disk: 128 adds 0.16 bits per weight, 32 adds 0.63. "
                    + "Default: 128"})
    int groupSize = 128;

    @Option(names = "--symmetric", negatable = true, defaultValue = "true", fallbackValue = "true", description = {
            "Codes centred on zero, which every runtime serves. --no-symmetric fits a zero point to each group: a little better, "
                    + "written as gptq_v2. Default: --symmetric"})
    boolean symmetric = true;

    @Option(names = "--clip-search", description = {
            "Search for each group the clip of its range that costs least, instead of "
                    + "covering every weight. Helps at 2 and 3 bits; makes solving slower."})
    boolean clipSearch;

    @Option(names = "--scale-search", description = {
            "Search for each group, before solving, the scale that costs least, its sign included, weighted by how active each input "
                    + "is. Wins back about half of what gptq loses, for a few seconds; part of gradient."})
    boolean scaleSearch;

    @Option(names = "--refit-scales", negatable = true, fallbackValue = "true", description = {
            "After solving, refit the scales to the codes. With gptq in every layer, with gradient in the blocks that it helps. "
                    + "Default: --refit-scales for gradient, --no-refit-scales for gptq"})
    @Nullable
    Boolean refitScales;

    @Option(names = "--coordinate-descent", paramLabel = "SWEEPS", description = {
            "Then go over the codes so many times, each to the best given all others. 1 to 4 are usual, each as long as solving. "
                    + "Default: 2 for gradient, 0 for gptq"})
    @Nullable
    Integer coordinateDescent;

    @Option(names = "--act-order", paramLabel = "ORDER", description = {
            "Order in which inputs are quantized. none: their own. static: most active first, groups of neighbours; costs nothing "
                    + "at inference. group: groups in that order too (desc_act); best fit, slower kernels at inference. Default: none for gradient, static for gptq"})
    @Nullable
    ActOrder actOrder;

    @Option(names = "--damp", paramLabel = "X", description = {
            "Share of the Hessian's mean diagonal that is added to it; grown by "
                    + "itself when a layer needs more. Default: 0.01"})
    double damp = 0.01;

    @Option(names = "--true-sequential", description = {
            "Recompute activations after each quantized part of a block instead of "
                    + "once per block. Up to four times the forward passes."})
    boolean trueSequential;

    @Option(names = "--format", paramLabel = "NAME", description = {
            "gptq: read by everything, symmetric only. gptq_v2: zero points stored as they are. "
                    + "Default: gptq, or gptq_v2 with --no-symmetric"})
    @Nullable
    CheckpointFormat format;

    void check() {
        Checks.oneOf(BITS, "--bits", bits);
        Checks.require(groupSize == -1 || groupSize > 0, "--group-size", groupSize,
                "a divisor of the layers' inputs such as 128, or -1 for all inputs");
        Checks.atLeast(0, "--coordinate-descent", coordinateDescent());
        Checks.require(!clipSearch || (!scaleSearch && calibrator != CalibratorKind.GRADIENT), "--clip-search",
                scaleSearch ? "--scale-search" : "--calibrator gradient",
                "one search of the scales, not two: --calibrator gptq without --scale-search");
        Checks.require(!trueSequential || calibrator != CalibratorKind.GRADIENT, "--true-sequential",
                "--calibrator gradient", "--calibrator gptq: gradient makes up for errors in another way");
        Checks.require(damp >= 0 && damp < 1, "--damp", damp, "a share from 0 up to, not including, 1, such as 0.01");
    }

    /** Searched scales and an order by activity do not add up: docs/results/gradient.md. */
    ActOrder actOrder() {
        if (actOrder != null) {
            return actOrder;
        }
        return calibrator == CalibratorKind.GRADIENT ? ActOrder.NONE : ActOrder.STATIC;
    }

    /** What lowers a layer's error helps more surely where a block keeps it only if its output comes closer. */
    boolean refitScales() {
        return refitScales == null ? calibrator == CalibratorKind.GRADIENT : refitScales;
    }

    int coordinateDescent() {
        if (coordinateDescent != null) {
            return coordinateDescent;
        }
        return calibrator == CalibratorKind.GRADIENT ? SWEEPS : 0;
    }

    CheckpointFormat format() {
        if (format != null) {
            return format;
        }
        return symmetric ? CheckpointFormat.GPTQ : CheckpointFormat.GPTQ_V2;
    }
}
