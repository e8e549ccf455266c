package dev.optgptq.cli.command;

import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.solve.ActOrder;
import java.nio.file.Path;

/** The default output directory: beside the model, named after the settings that make a difference. */
final class OutputName {

    private OutputName() {}

    /** MODEL-gradient-w4g128, with a suffix for every choice that differs from the defaults. */
    static Path beside(Path model, GridOptions grid, RefineOptions refine) {
        Path source = model.toAbsolutePath().normalize();
        Path name = source.getFileName();
        String base = (name == null ? "model" : name.toString()) + suffix(grid, refine);
        return model.isAbsolute() || model.toString().isEmpty() || name == null || endsInDots(model)
                ? source.resolveSibling(base)
                : model.normalize().resolveSibling(base);
    }

    /** "." and "..": the folder's real name and parent are known only from the absolute path. */
    private static boolean endsInDots(Path model) {
        Path last = model.normalize().getFileName();
        return last == null || last.toString().isEmpty() || last.toString().equals("..");
    }

    private static String suffix(GridOptions grid, RefineOptions refine) {
        StringBuilder suffix = new StringBuilder("-" + Choices.label(grid.calibrator) + "-w" + grid.bits);
        suffix.append(grid.groupSize == -1 ? "-row" : "g" + grid.groupSize);
        suffix.append(grid.symmetric ? "" : "-asym").append(grid.clipSearch ? "-clip" : "")
                .append(grid.scaleSearch ? "-search" : "");
        if (grid.calibrator != CalibratorKind.RTN) {
            ActOrder order = grid.actOrder;
            suffix.append(order == null ? "" : "-act-" + Choices.label(order));
            suffix.append(grid.trueSequential ? "-seq" : "");
            Boolean refit = grid.refitScales;
            suffix.append(refit == null ? "" : refit ? "-refit" : "-norefit");
            suffix.append(grid.coordinateDescent == null ? "" : "-descent" + grid.coordinateDescent);
        }
        if (grid.calibrator == CalibratorKind.GRADIENT && refine.tuneSteps > 0) {
            Boolean norms = refine.tuneNorms;
            suffix.append("-tune").append(refine.tuneSteps).append(norms == null ? "" : norms ? "-norms" : "-nonorms");
        }
        return suffix.toString();
    }
}
