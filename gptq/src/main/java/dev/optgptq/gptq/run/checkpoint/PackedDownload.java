package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Downloads;
import dev.optgptq.kernels.Downloads.Download;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * A linear's packed tensors on their way to the thread that writes: what they are made from stays on the device until it is copied,
 * beside the device's other work. All but {@link Part#complete} and {@link #freeHost} is for the device's thread.
 */
final class PackedDownload implements AutoCloseable {

    private final Device device;
    private final Downloads downloads;
    private final TensorArena arena;
    private final Arena host = Arena.ofShared();
    private final List<Download> begun = new ArrayList<>();
    private final List<MemorySegment> fingerprinted = new ArrayList<>();
    private final MemorySegment checksum = host.allocate(ValueLayout.JAVA_INT);

    PackedDownload(Device device, Downloads downloads) {
        this.device = device;
        this.downloads = downloads;
        this.arena = device.arena();
    }

    /** A packed tensor, whose bytes come later than the memory for them. */
    interface Part {
        /** Called first, by the device's thread. */
        void begin(MemorySegment to);

        /** Returns when the bytes are there. Called by any thread. */
        void complete(MemorySegment to);
    }

    /** A tensor that stays until it is copied. */
    Tensor matrix(DType dtype, long rows, long columns) {
        return arena.matrix(dtype, rows, columns);
    }

    /** Packed on the device: its bytes are the tensor's. */
    Part packed(Tensor tensor) {
        return new Part() {
            private Download download = Download.ENDED;

            @Override
            public void begin(MemorySegment to) {
                download = download(tensor, to);
            }

            @Override
            public void complete(MemorySegment to) {
                download.await();
            }
        };
    }

    /** Packed on the host. */
    static Part packed(Copied from, Consumer<MemorySegment> pack) {
        return new Part() {
            @Override
            public void begin(MemorySegment to) {
                // The copy has begun.
            }

            @Override
            public void complete(MemorySegment to) {
                from.download.await();
                pack.accept(to);
            }
        };
    }

    /** A tensor's bytes on the host, once the copy has ended. */
    record Copied(MemorySegment bytes, Download download) {}

    /** Begins to copy the checksum of the codes, which comes first in the fingerprint: I32 [1, 1]. */
    void checksum(Tensor ofCodes) {
        download(ofCodes, checksum);
    }

    /** Begins to copy what comes next in the fingerprint. */
    Copied copy(Tensor tensor) {
        MemorySegment bytes = host.allocate(tensor.bytes(), 64);
        fingerprinted.add(bytes);
        return new Copied(bytes, download(tensor, bytes));
    }

    /** The same of a tensor that may be freed or written to as soon as this returns. */
    Copied copyKept(Tensor tensor) {
        Tensor kept = matrix(tensor.dtype(), tensor.rows(), tensor.columns());
        device.matrix().copy(tensor, kept);
        return copy(kept);
    }

    private Download download(Tensor tensor, MemorySegment to) {
        Download download = downloads.begin(tensor, to);
        begun.add(download);
        return download;
    }

    /** Whether nothing is to be waited for. */
    boolean hasEnded() {
        return begun.stream().allMatch(Download::hasEnded);
    }

    /** Of the solver's integers and the scales. Waits for all copies. */
    long fingerprint() {
        begun.forEach(Download::await);
        Fingerprint all = Fingerprint.ofCodes(checksum.get(ValueLayout.JAVA_INT, 0));
        fingerprinted.forEach(all::add);
        return all.value();
    }

    /** Frees the memory on the device, once the copies have ended or the device is lost. */
    @Override
    public void close() {
        begun.forEach(PackedDownload::awaitEnd);
        arena.close();
    }

    @SuppressWarnings("EmptyCatch") // see the comment in it
    private static void awaitEnd(Download download) {
        try {
            download.await();
        } catch (RuntimeException e) {
            // Whoever needs the bytes throws it.
        }
    }

    /** After {@link #close}, when no part will be asked for its bytes. */
    void freeHost() {
        host.close();
    }
}
