package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.OutputFiles;
import dev.optgptq.formats.files.PartialFile;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.SequencedMap;

/**
 * Writes one GGUF file as a stream: the header is planned from the tensors, whose data follows in their order. Written to a
 * temporary file beside the target, synced, then renamed. Failures to write are UserError OUTPUT naming the file.
 */
final class GgufWriter implements AutoCloseable {

    /** A ByteBuffer is limited to the size of an int. */
    private static final long PIECE_BYTES = 1L << 26;

    private final Path target;
    private final List<GgufTensor> tensors;
    private final PartialFile file;
    private int written;
    /** Bytes of the tensor that is due which are in the file. */
    private long ofTensor;
    private long end;

    /** @param target its directory exists; a file of that name is replaced in the end */
    GgufWriter(Path target, SequencedMap<String, GgufValue> metadata, List<GgufTensor> tensors) {
        this.target = target;
        this.tensors = List.copyOf(tensors);
        this.file = new PartialFile(target);
        try {
            writeFully(ByteBuffer.wrap(GgufHeader.of(metadata, tensors)));
        } catch (IOException e) {
            close();
            throw OutputFiles.failure(target, e);
        }
    }

    /** Writes the next bytes of the tensor that is due. */
    void write(MemorySegment data) {
        if (written == tensors.size() || data.byteSize() > tensors.get(written).bytes() - ofTensor) {
            throw new IllegalArgumentException(data.byteSize() + " bytes are more than are due");
        }
        try {
            for (long at = 0; at < data.byteSize(); at += PIECE_BYTES) {
                writeFully(data.asSlice(at, Math.min(PIECE_BYTES, data.byteSize() - at)).asByteBuffer());
            }
            ofTensor += data.byteSize();
            if (ofTensor == tensors.get(written).bytes()) {
                writeFully(ByteBuffer.allocate((int) (GgufHeader.aligned(end) - end)));
                ofTensor = 0;
                written++;
            }
        } catch (IOException e) {
            throw OutputFiles.failure(target, e);
        }
    }

    /** Syncs and renames to the target. */
    void finish() {
        if (written < tensors.size()) {
            throw new UserError(Code.OUTPUT, target + ": expected " + tensors.size() + " tensors, but only " + written
                    + " were written; please report this");
        }
        file.finish();
    }

    /** Removes the temporary file unless finish() has run. */
    @Override
    public void close() {
        file.close();
    }

    private void writeFully(ByteBuffer buffer) throws IOException {
        long bytes = buffer.remaining();
        file.write(buffer, end);
        end += bytes;
    }
}
