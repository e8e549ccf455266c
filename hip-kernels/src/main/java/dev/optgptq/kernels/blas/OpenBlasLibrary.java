package dev.optgptq.kernels.blas;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.natives.CacheFolder;
import dev.optgptq.formats.natives.NativeFolder;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Finds and loads OpenBLAS: the file that the user named and nothing else; or the distribution's and nothing else; or the
 * one in the jar, or the system's.
 *
 * @param origin where it came from, for people
 */
record OpenBlasLibrary(SymbolLookup symbols, String origin) {

    /** Environment variable with the path of an OpenBLAS library to use. */
    static final String PATH_VARIABLE = "OPT_GPTQ_OPENBLAS";

    private static final String SYSTEM_NAME = "libopenblas.so.0";

    private static final AtomicReference<@Nullable OpenBlasLibrary> LOADED = new AtomicReference<>();

    /**
     * The one of this process, which is never unloaded: it is found, and the bundled one compared with the jar, when the
     * first device opens and not again. Throws as {@link #load(UnaryOperator)} does.
     */
    static synchronized OpenBlasLibrary ofThisProcess() {
        OpenBlasLibrary library = LOADED.get();
        if (library == null) {
            library = load(System::getenv);
            LOADED.set(library);
        }
        return library;
    }

    /** Loads it; UserError DEVICE says what was tried and what to do. */
    static OpenBlasLibrary load(UnaryOperator<@Nullable String> environment) {
        String chosen = environment.apply(PATH_VARIABLE);
        if (chosen != null) {
            return loadChosen(chosen);
        }
        return NativeFolder.ofThisProgram().map(OpenBlasLibrary::loadDistributed)
                .orElseGet(() -> loadAny(environment, BundledLibrary.openBlas()));
    }

    private static OpenBlasLibrary loadChosen(String path) {
        try {
            return new OpenBlasLibrary(open(Path.of(path)), path);
        } catch (IllegalArgumentException e) {
            throw new UserError(UserError.Code.DEVICE, "OpenBLAS cannot be loaded from " + path + ", which "
                    + PATH_VARIABLE + " names: " + e.getMessage()
                    + "; name a libopenblas file for this machine or unset "
                    + PATH_VARIABLE + " to use the bundled one", e);
        }
    }

    /** UserError DEVICE names the file that is missing, or does not suit this system. */
    static OpenBlasLibrary loadDistributed(NativeFolder folder) {
        List<Path> files = BundledLibrary.namesOfOpenBlas().stream().map(folder::file).toList();
        try {
            return load(files, "of this distribution");
        } catch (IllegalArgumentException e) {
            throw new UserError(UserError.Code.DEVICE, "OpenBLAS, which the cpu device needs, cannot be loaded ("
                    + e.getMessage() + "); 'ldd " + files.getLast() + "' says what this system lacks. Name another"
                    + " libopenblas with " + PATH_VARIABLE + ", or use --device reference", e);
        }
    }

    private static OpenBlasLibrary loadAny(UnaryOperator<@Nullable String> environment, BundledLibrary bundled) {
        List<String> failures = new ArrayList<>();
        if (bundled.isPresent()) {
            try {
                return loadBundled(bundled, CacheFolder.of(environment));
            } catch (IOException | IllegalArgumentException e) {
                failures.add("bundled " + bundled.version() + ": " + e);
            }
        } else {
            failures.add("none is bundled for " + bundled.platform());
        }
        try {
            return new OpenBlasLibrary(SymbolLookup.libraryLookup(SYSTEM_NAME, Arena.global()),
                    "the system's " + SYSTEM_NAME);
        } catch (IllegalArgumentException e) {
            failures.add(SYSTEM_NAME + " of the system: " + e.getMessage());
        }
        throw new UserError(UserError.Code.DEVICE, "OpenBLAS, which the cpu device needs, cannot be loaded ("
                + String.join("; ", failures) + "); make the cache folder writable or name another with "
                + CacheFolder.VARIABLE + ", or install OpenBLAS (Debian: libopenblas0-pthread), or name a library with "
                + PATH_VARIABLE + ", or use --device reference");
    }

    static OpenBlasLibrary loadBundled(BundledLibrary bundled, Path cache) throws IOException {
        return load(bundled.unpack(cache), "bundled " + bundled.version());
    }

    /** Loads the last file, which needs the others. */
    private static OpenBlasLibrary load(List<Path> files, String origin) {
        for (Path dependency : files.subList(0, files.size() - 1)) {
            openDependency(dependency);
        }
        return new OpenBlasLibrary(open(files.getLast()), origin);
    }

    /**
     * libgfortran does not say where its own needs are, so they must be in the process before it. The system's are
     * preferred where they exist: the JVM may have loaded them already.
     */
    private static void openDependency(Path file) {
        String name = String.valueOf(file.getFileName());
        if (name.contains("gfortran")) {
            open(file);
            return;
        }
        try {
            SymbolLookup.libraryLookup(name, Arena.global());
        } catch (IllegalArgumentException e) {
            open(file);
        }
    }

    private static SymbolLookup open(Path file) {
        // Never unloaded: OpenBLAS keeps threads and buffers of its own.
        return SymbolLookup.libraryLookup(file, Arena.global());
    }
}
