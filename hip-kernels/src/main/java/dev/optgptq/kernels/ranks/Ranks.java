package dev.optgptq.kernels.ranks;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The processes of one job, numbered from 0, as one of them sees the others. They carry bytes; sums are formed by the
 * callers, in an order that does not depend on how many processes there are. All run the same program: to what one sends, the
 * other's next receive from it belongs. Calls come from one thread at a time.
 *
 * <p>A call that waits throws UserError DEVICE that names the process it waited for when that one has failed, or has given no sign
 * for the time that the user allows.
 */
public interface Ranks extends AutoCloseable {

    /** Number of this process. */
    int rank();

    /** Number of processes. */
    int size();

    /** A process, for people: "rank 3 (node17)". */
    String name(int rank);

    /** Processes of this one's host, this one included. */
    int onThisHost();

    /** Sends bytes; returns once they may be overwritten. */
    void send(int to, MemorySegment bytes);

    /** Receives as many bytes as the segment has, which the other sends in one call. */
    void receive(int from, MemorySegment bytes);

    /** The same where the other may first work for as long as it likes: the time that the user allows does not count. */
    void receiveLate(int from, MemorySegment bytes);

    /** Tells all others that this process cannot continue: what they wait for then throws this reason. */
    void fail(String reason);

    /** Ends this process's part, after all others have reached their end or one has failed. */
    @Override
    void close();

    /** Whether this is the one that talks and writes. */
    default boolean isFirst() {
        return rank() == 0;
    }

    default boolean areSeveral() {
        return size() > 1;
    }

    /** Until the first calls it too, however long it works before that. */
    default void awaitFirst() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment word = arena.allocate(1);
            if (isFirst()) {
                for (int other = 1; other < size(); other++) {
                    send(other, word);
                }
            } else {
                receiveLate(0, word);
            }
        }
    }

    /**
     * Copies the bytes of one process to all others, along a binomial tree: log2(size) messages one after the other.
     *
     * @param from whose bytes
     * @param bytes of the same size everywhere
     */
    default void broadcast(int from, MemorySegment bytes) {
        int mine = Math.floorMod(rank() - from, size());
        int span = 1;
        for (; span < size(); span *= 2) {
            if (mine >= span && mine < 2 * span) {
                receive(Math.floorMod(from + mine - span, size()), bytes);
            }
        }
        int has = mine == 0 ? 1 : 2 * Integer.highestOneBit(mine);
        for (int step = has; step < size(); step *= 2) {
            if (mine + step < size()) {
                send(Math.floorMod(from + mine + step, size()), bytes);
            }
        }
    }

    /** Some numbers of one process, given to all. */
    default long[] broadcast(int from, long... numbers) {
        long[] all = numbers.clone();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocateFrom(ValueLayout.JAVA_LONG, numbers);
            broadcast(from, bytes);
            MemorySegment.copy(bytes, ValueLayout.JAVA_LONG, 0, all, 0, all.length);
        }
        return all;
    }

    /** A text of each, by rank; everywhere the same list. */
    default List<String> exchange(String text) {
        List<String> all = new ArrayList<>();
        for (int from = 0; from < size(); from++) {
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            int length = Math.toIntExact(broadcast(from, bytes.length)[0]);
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment there = arena.allocate(Math.max(1, length));
                if (from == rank()) {
                    MemorySegment.copy(bytes, 0, there, ValueLayout.JAVA_BYTE, 0, length);
                }
                broadcast(from, there);
                all.add(new String(there.asSlice(0, length).toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8));
            }
        }
        return all;
    }

    /** Numbers of each, by rank, as many of all; everywhere the same list. */
    default List<long[]> exchange(long... numbers) {
        List<long[]> all = new ArrayList<>();
        for (int from = 0; from < size(); from++) {
            all.add(broadcast(from, numbers));
        }
        return all;
    }
}
