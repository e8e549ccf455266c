package dev.optgptq.cli.render;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.files.OutputMark;
import dev.optgptq.formats.model.ModelFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** Small text files that a command writes at its end; checked for being writable at its start. */
public final class TextFile {

    private TextFile() {}

    /** Makes the folder of a file to come; throws UserError OUTPUT now rather than after an hour of work. */
    public static void prepare(@Nullable Path file) {
        if (file == null || file.toString().equals("-")) {
            return;
        }
        ModelFiles.requireNone(file);
        Path folder = file.toAbsolutePath().getParent();
        try {
            if (folder != null) {
                Files.createDirectories(folder);
            }
        } catch (IOException e) {
            throw cannotWrite(file, e);
        }
        if (Files.isDirectory(file) || (folder != null && !Files.isWritable(folder))) {
            throw new UserError(Code.OUTPUT, file + ": expected a file that can be written, found "
                    + (Files.isDirectory(file) ? "a directory" : "a folder without write permission"));
        }
    }

    /** Throws UserError OUTPUT. A file in one of our output directories is recorded there. */
    public static void write(Path file, String text) {
        ModelFiles.requireNone(file);
        try {
            Files.writeString(file, text);
            OutputMark.add(file);
        } catch (IOException e) {
            throw cannotWrite(file, e);
        }
    }

    private static UserError cannotWrite(Path file, IOException e) {
        return new UserError(Code.OUTPUT,
                file + " cannot be written: " + e + "; check the path, its permissions and the "
                        + "disk's free space",
                e);
    }
}
