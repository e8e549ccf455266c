package dev.optgptq.cli.render;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.eval.GoldenCheck;
import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * One folder of several that are checked against another implementation.
 *
 * @param error why the model cannot be run; null where it was
 * @param found null where there is an error
 */
public record FolderCheck(Path folder, @Nullable String error, GoldenCheck.@Nullable Found found) {

    /** Throws UserError where the model cannot be run. */
    public static FolderCheck of(Path folder, Device device, Progress progress) {
        return new FolderCheck(folder, null, new GoldenCheck(folder, device).run(progress));
    }

    /** The same with such an error as the result. */
    public static FolderCheck tried(Path folder, Device device, Progress progress) {
        try {
            return of(folder, device, progress);
        } catch (UserError e) {
            return new FolderCheck(folder, e.getMessage(), null);
        }
    }

    public boolean agrees(double tolerance) {
        return found != null && found.worst() <= tolerance;
    }
}
