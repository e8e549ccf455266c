package dev.optgptq.kernels.testing;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.Together;
import dev.optgptq.kernels.ranks.Ranks;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/** The ranks of a job as threads of one process. */
public final class ThreadRanks implements Ranks {

    private static final long TIMEOUT_SECONDS = 60;

    private final int rank;
    /** By sender and receiver. */
    private final List<List<BlockingQueue<byte[]>>> messages;
    private final AtomicReference<String> failure;

    private ThreadRanks(int rank, List<List<BlockingQueue<byte[]>>> messages, AtomicReference<String> failure) {
        this.rank = rank;
        this.messages = messages;
        this.failure = failure;
    }

    /** Runs the work of {@code size} ranks at the same time; throws the failure of the lowest that failed. */
    public static void run(int size, Consumer<Ranks> work) {
        List<List<BlockingQueue<byte[]>>> messages = IntStream.range(0, size)
                .mapToObj(from -> IntStream.range(0, size)
                        .<BlockingQueue<byte[]>>mapToObj(to -> new LinkedBlockingQueue<>()).toList())
                .toList();
        AtomicReference<String> failure = new AtomicReference<>();
        Together.run(size, rank -> {
            ThreadRanks ranks = new ThreadRanks(rank, messages, failure);
            try {
                work.accept(ranks);
            } catch (RuntimeException | Error e) {
                ranks.fail(String.valueOf(e.getMessage()));
                throw e;
            }
        });
    }

    @Override
    public int rank() {
        return rank;
    }

    @Override
    public int size() {
        return messages.size();
    }

    @Override
    public String name(int of) {
        return "rank " + of;
    }

    @Override
    public int onThisHost() {
        return size();
    }

    @Override
    public void send(int to, MemorySegment bytes) {
        messages.get(rank).get(to).add(bytes.toArray(ValueLayout.JAVA_BYTE));
    }

    @Override
    public void receive(int from, MemorySegment bytes) {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(TIMEOUT_SECONDS);
        byte[] found = null;
        while (found == null) {
            String reason = failure.get();
            if (reason != null) {
                throw new UserError(UserError.Code.DEVICE, reason);
            }
            if (System.nanoTime() > deadline) {
                throw new AssertionError("rank " + rank + " waits for rank " + from);
            }
            try {
                found = messages.get(from).get(rank).poll(1, TimeUnit.MILLISECONDS);
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }
        if (found.length != bytes.byteSize()) {
            throw new AssertionError("rank " + rank + " expects " + bytes.byteSize() + " bytes of rank " + from
                    + ", which sent " + found.length);
        }
        bytes.copyFrom(MemorySegment.ofArray(found));
    }

    @Override
    public void receiveLate(int from, MemorySegment bytes) {
        receive(from, bytes);
    }

    @Override
    public void fail(String reason) {
        failure.compareAndSet(null, name(rank) + ": " + reason);
    }

    @Override
    public void close() {
        // Threads end by themselves.
    }
}
