package dev.optgptq.calibrate.capture;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * A sum of square matrices over the parts of the calibration, added up as a tree over all parts: neighbours first, then
 * neighbouring pairs, as ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). A device that has some neighbouring parts sums what of the
 * tree lies within them; what several devices found is put together in the order in which one device would have added it, so
 * that the sum is the same bits for any number of devices.
 */
final class TreeSum implements AutoCloseable {

    /** Rows that are kept as one tensor, from the diagonal on where only the upper triangle counts. */
    private static final long STRIP = 1024;

    private final Device device;
    private final boolean upper;
    private final TensorArena arena;
    private final Tensor sum;
    /** Sums that wait for their neighbour, in the order of the parts. */
    private final Deque<Kept> kept = new ArrayDeque<>();
    private Node current = Node.NONE;

    /** Neighbouring parts whose sum is known. */
    private record Node(int first, int count) {
        private static final Node NONE = new Node(0, 0);

        /** Whether the other is the right half of the same node of the tree. */
        private boolean isLeftOf(Node other) {
            return count == other.count && first / count % 2 == 0 && first + count == other.first;
        }

        private Node with(Node right) {
            return new Node(first, count + right.count);
        }
    }

    /** A node's sum out of the way: dense strips of rows. */
    private record Kept(Node node, TensorArena arena, List<Tensor> strips) {}

    /**
     * Nothing is summed yet.
     *
     * @param n rows and columns
     * @param upper whether the lower triangle is neither read nor moved
     */
    TreeSum(Device device, long n, boolean upper) {
        this.device = device;
        this.upper = upper;
        this.arena = device.arena();
        try {
            this.sum = arena.matrix(DType.F32, n, n);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /** The most that it holds at one time on one device, in bytes, for all parts. */
    static long bytes(long n, boolean upper, int parts) {
        int waiting = Integer.SIZE - 1 - Integer.numberOfLeadingZeros(parts);
        long strips = 0;
        for (long row = 0; row < n; row += STRIP) {
            strips += Math.min(STRIP, n - row) * (upper ? n - row : n);
        }
        return Float.BYTES * (n * n + waiting * strips);
    }

    /** Starts a part, which is behind those before it. */
    void begin(int part) {
        if (current.count > 0) {
            keep();
        }
        device.matrix().fill(sum, 0);
        current = new Node(part, 1);
    }

    /** Where the part that was begun is summed up, F32 [n, n], zero at first. After finish(), all parts. */
    Tensor matrix() {
        return sum;
    }

    /** The part that was begun is complete. */
    void end() {
        while (!kept.isEmpty() && kept.getLast().node.isLeftOf(current)) {
            addLast();
        }
    }

    /** Takes over what another device has of the parts behind these; every part must have ended. */
    void absorb(TreeSum other) {
        List<Tensor> place = strips();
        long widest = place.stream().mapToLong(strip -> strip.elements() * Float.BYTES).max().orElse(0);
        try (Arena host = Arena.ofShared()) {
            MemorySegment staging = host.allocate(widest);
            for (Kept node : other.kept) {
                take(node.node, other.device, node.strips, staging);
            }
            if (other.current.count > 0) {
                take(other.current, other.device, other.strips(), staging);
            }
        }
    }

    private void take(Node node, Device from, List<Tensor> theirs, MemorySegment staging) {
        if (current.count > 0) {
            keep();
        }
        List<Tensor> mine = strips();
        for (int i = 0; i < mine.size(); i++) {
            MemorySegment bytes = staging.asSlice(0, theirs.get(i).elements() * Float.BYTES);
            from.download(theirs.get(i), bytes);
            device.upload(bytes, mine.get(i));
        }
        current = node;
        end();
    }

    /** Adds up what is left where the number of parts is no power of two. */
    void finish() {
        while (!kept.isEmpty()) {
            addLast();
        }
    }

    private void addLast() {
        Kept last = kept.removeLast();
        List<Tensor> strips = strips();
        for (int i = 0; i < strips.size(); i++) {
            device.neural().add(strips.get(i), last.strips.get(i));
        }
        last.arena.close();
        current = last.node.with(current);
    }

    private void keep() {
        TensorArena own = device.arena();
        List<Tensor> copies = new ArrayList<>();
        kept.addLast(new Kept(current, own, copies));
        for (Tensor strip : strips()) {
            Tensor copy = own.matrix(DType.F32, strip.rows(), strip.columns());
            device.matrix().copy(strip, copy);
            copies.add(copy);
        }
    }

    /** What counts of the matrix. */
    private List<Tensor> strips() {
        List<Tensor> strips = new ArrayList<>();
        long n = sum.rows();
        for (long row = 0; row < n; row += STRIP) {
            long left = upper ? row : 0;
            strips.add(sum.rows(row, Math.min(STRIP, n - row)).columns(left, n - left));
        }
        return strips;
    }

    @Override
    public void close() {
        kept.forEach(node -> node.arena.close());
        kept.clear();
        arena.close();
    }
}
