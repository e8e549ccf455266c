package dev.optgptq.kernels.ffm;

import java.nio.file.Path;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** The per-user folder for files that can be made again: unpacked libraries, compiled kernels. */
public final class CacheFolder {

    /** Environment variable with the folder to use. */
    public static final String VARIABLE = "OPT_GPTQ_CACHE";

    private CacheFolder() {}

    /** The folder that was named, otherwise opt-gptq in the desktop standard's cache folder. It may not exist yet. */
    public static Path of(UnaryOperator<@Nullable String> environment) {
        String chosen = environment.apply(VARIABLE);
        if (chosen != null) {
            return Path.of(chosen);
        }
        String standard = environment.apply("XDG_CACHE_HOME");
        Path base = standard != null && Path.of(standard).isAbsolute()
                ? Path.of(standard)
                : Path.of(System.getProperty("user.home"), ".cache");
        return base.resolve("opt-gptq");
    }
}
