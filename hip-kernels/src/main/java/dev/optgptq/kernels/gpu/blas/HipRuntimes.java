package dev.optgptq.kernels.gpu.blas;

import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The HIP runtimes in this process. A rocBLAS of another installation loads its own runtime, in which our addresses are
 * invalid.
 */
final class HipRuntimes {

    private static final Path MAPS = Path.of("/proc/self/maps");
    private static final Pattern RUNTIME = Pattern.compile("\\s(/\\S*/lib(?:amdhip64|galaxyhip)\\.so\\S*)");

    private HipRuntimes() {}

    /** UserError DEVICE when there are several. */
    static void requireOne(String library) {
        try (Stream<String> lines = Files.lines(MAPS)) {
            Set<String> runtimes = new TreeSet<>();
            lines.map(RUNTIME::matcher).filter(Matcher::find).forEach(found -> runtimes.add(found.group(1)));
            if (runtimes.size() > 1) {
                throw new UserError(UserError.Code.DEVICE, library + " uses another HIP runtime than this program: "
                        + String.join(" and ", runtimes)
                        + "; name libraries of one installation with OPT_GPTQ_HIP_LIB and OPT_GPTQ_ROCBLAS_LIB");
            }
        } catch (IOException e) {
            throw new UserError(UserError.Code.DEVICE, MAPS + " cannot be read: " + e.getMessage(), e);
        }
    }
}
