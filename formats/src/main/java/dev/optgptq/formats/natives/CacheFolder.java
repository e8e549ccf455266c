package dev.optgptq.formats.natives;

import java.io.IOException;
import java.nio.file.Path;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** The per-user folder for files that can be regenerated: unpacked libraries, compiled kernels. */
public final class CacheFolder {

    /** Environment variable with the folder to use. */
    public static final String VARIABLE = "OPT_GPTQ_CACHE";

    private CacheFolder() {}

    /**
     * The folder in the environment variable, otherwise opt-gptq in the XDG cache folder. It may not exist yet.
     *
     * @throws IOException when there is none: the variable is not set, and the user has no home directory, as in a
     *     container that runs under a numeric id
     */
    public static Path of(UnaryOperator<@Nullable String> environment) throws IOException {
        return of(environment, System.getProperty("user.home"));
    }

    static Path of(UnaryOperator<@Nullable String> environment, String home) throws IOException {
        String chosen = environment.apply(VARIABLE);
        if (chosen != null && !chosen.isBlank()) {
            return Path.of(chosen);
        }
        String standard = environment.apply("XDG_CACHE_HOME");
        if (standard != null && Path.of(standard).isAbsolute()) {
            return Path.of(standard, "opt-gptq");
        }
        // Where the system knows no home, the property is a question mark.
        if (!Path.of(home).isAbsolute()) {
            throw new IOException("there is no folder to cache files in, since this user has no home directory; set "
                    + VARIABLE + " to a folder that can be written");
        }
        return Path.of(home, ".cache", "opt-gptq");
    }
}
