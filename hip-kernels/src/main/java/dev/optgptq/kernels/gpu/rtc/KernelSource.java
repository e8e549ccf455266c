package dev.optgptq.kernels.gpu.rtc;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A kernel source with its headers inlined, once each: run-time compilers differ in how headers are passed. The
 * compiler's messages still have the line numbers of each file.
 *
 * @param name the file's, without its ending
 */
public record KernelSource(String name, String text) {

    /** Where the build puts src/main/gpu. */
    private static final String FOLDER = "/dev/optgptq/kernels/gpu/source/";
    private static final Pattern INCLUDE = Pattern.compile("#include \"([^\"]+)\"");

    /** A bundled file. IllegalArgumentException when there is none of that name. */
    public static KernelSource bundled(String name) {
        return of(name, read(name + ".hip"));
    }

    /** Any text, which may include the bundled headers. */
    public static KernelSource of(String name, String text) {
        StringBuilder expanded = new StringBuilder();
        expand(name + ".hip", text, new HashSet<>(), expanded);
        return new KernelSource(name, expanded.toString());
    }

    private static void expand(String file, String text, Set<String> seen, StringBuilder out) {
        out.append("#line 1 \"").append(file).append("\"\n");
        int number = 0;
        for (String line : text.split("\n", -1)) {
            number++;
            Matcher include = INCLUDE.matcher(line);
            if (!include.matches()) {
                out.append(line).append('\n');
                continue;
            }
            if (seen.add(include.group(1))) {
                expand(include.group(1), read(include.group(1)), seen, out);
            }
            out.append("#line ").append(number + 1).append(" \"").append(file).append("\"\n");
        }
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
