package dev.optgptq.formats.natives;

import dev.optgptq.formats.UserError;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/**
 * The folder of a distribution's native libraries. Libraries in jars have to be unpacked first, and a cluster's node
 * may have no place for them: no home directory, or a read-only one.
 */
public record NativeFolder(Path path) {

    /** System property with the folder; the launcher of a distribution sets it. */
    public static final String PROPERTY = "opt-gptq.natives";

    /** Empty where the program runs from its build, whose jars hold the libraries. */
    public static Optional<NativeFolder> ofThisProgram() {
        return Optional.ofNullable(System.getProperty(PROPERTY)).map(Path::of).map(NativeFolder::new);
    }

    /**
     * A library's file. UserError DEVICE when it is not there.
     *
     * @param name with prefix and suffix, such as libopenblas.so.0
     */
    public Path file(String name) {
        Path file = path.resolve(name);
        if (!Files.isReadable(file)) {
            throw new UserError(UserError.Code.DEVICE,
                    file + ": expected a library of this distribution, found no file that can be read; unpack the"
                            + " distribution again");
        }
        return file;
    }
}
