package dev.optgptq.kernels.gpu.rtc;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;

/**
 * A kernel source, complete: the portability header, then one file of src/main/gpu. Run-time compilers find no headers of
 * their own reliably, so a source includes nothing.
 *
 * @param name the file's, without its ending
 */
public record KernelSource(String name, String text) {

    /** Where the build puts src/main/gpu. */
    private static final String FOLDER = "/dev/optgptq/kernels/gpu/source/";

    /** A file that comes with the program. IllegalArgumentException when there is none of that name. */
    public static KernelSource bundled(String name) {
        return of(name, read(name + ".hip"));
    }

    /** The header with any text after it. A compiler's messages count the lines of each from 1. */
    public static KernelSource of(String name, String text) {
        return new KernelSource(name, "#line 1 \"portability.h\"\n" + read("portability.h") + "\n#line 1 \"" + name
                + ".hip\"\n" + text);
    }

    private static String read(String file) {
        try (InputStream in = KernelSource.class.getResourceAsStream(FOLDER + file)) {
            if (in == null) {
                throw new IllegalArgumentException("there is no kernel source " + file);
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
