package dev.optgptq.formats.safetensors;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * One tensor of an open file: a read-only window into the mapped bytes, valid until the file is closed.
 *
 * @param name its name in the file
 * @param data exactly shape.elements() * dtype.bytes() bytes, little-endian; the address may be unaligned
 * @param file the file that holds it, for messages
 */
public record TensorView(String name, DType dtype, Shape shape, MemorySegment data, Path file) {

    /**
     * Runs an action that reads the data. A file that shrinks while it is mapped, or whose disk fails, causes a memory
     * fault: Java's own copies turn it into an InternalError, which becomes a UserError BAD_MODEL naming the file here,
     * while vector and native code would crash the process. So data is copied before such code reads it.
     */
    public void reading(Runnable read) {
        try {
            read.run();
        } catch (InternalError fault) {
            throw new UserError(Code.BAD_MODEL, file + ", tensor '" + name + "': cannot be read any more (" + now()
                    + "); the file was cut off or replaced while it was read, or its disk fails: fetch it again",
                    fault);
        }
    }

    private String now() {
        try {
            return "the file has " + Files.size(file) + " bytes now";
        } catch (IOException e) {
            return e.toString();
        }
    }
}
