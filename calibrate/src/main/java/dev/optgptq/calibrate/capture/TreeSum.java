package dev.optgptq.calibrate.capture;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ranks.Ranks;
import java.lang.foreign.Arena;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * A sum of square matrices over the parts of the calibration, added up as a tree over all parts: neighbours first, then
 * neighbouring pairs, as ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). A device with consecutive parts sums the subtrees
 * within them; the results of several devices are combined in the order in which one device would have added them, so
 * that the sum has the same bits for any number of devices.
 */
final class TreeSum implements AutoCloseable {

    /** Rows that are kept as one tensor, from the diagonal on if only the upper triangle counts. */
    private static final long STRIP = 1024;

    private final Device device;
    private final boolean upper;
    private final TensorArena arena;
    private final Tensor sum;
    /** Partial sums waiting for their neighbour, in the order of the parts. */
    private final Deque<Kept> kept = new ArrayDeque<>();
    private Node current = Node.NONE;

    /** The sum of consecutive parts. */
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

    /** A compact copy of a node's sum: dense strips of rows. */
    private record Kept(Node node, TensorArena arena, List<Tensor> strips) {}

    /**
     * An empty sum.
     *
     * @param n rows and columns
     * @param upper whether the lower triangle is ignored
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

    /** Peak memory on one device, in bytes, for all parts. */
    static long bytes(long n, boolean upper, int parts) {
        int waiting = Integer.SIZE - 1 - Integer.numberOfLeadingZeros(parts);
        long strips = 0;
        for (long row = 0; row < n; row += STRIP) {
            strips += Math.min(STRIP, n - row) * (upper ? n - row : n);
        }
        return Float.BYTES * (n * n + waiting * strips);
    }

    /** Starts the next part. */
    void begin(int part) {
        if (current.count > 0) {
            keep();
        }
        device.matrix().fill(sum, 0);
        current = new Node(part, 1);
    }

    /** The sum of the current part, F32 [n, n], initially zero. After finish(), of all parts. */
    Tensor matrix() {
        return sum;
    }

    /** Completes the current part. */
    void end() {
        while (!kept.isEmpty() && kept.getLast().node.isLeftOf(current)) {
            addLast();
        }
    }

    /** Adds another device's sums over the following parts; every part must have ended. */
    void absorb(TreeSum other) {
        if (other.current.count > 0) {
            other.keep();
            other.current = Node.NONE;
        }
        other.device.synchronize();
        for (Kept node : other.kept) {
            take(node, other.device);
        }
    }

    private void take(Kept node, Device from) {
        take(node.node, (i, received) -> device.receive(from, node.strips.get(i), received));
    }

    /** Writes a strip that comes from elsewhere: dense, F32. */
    private interface Source {
        void read(int strip, Tensor received);
    }

    private void take(Node node, Source source) {
        if (current.count > 0) {
            keep();
        }
        List<Tensor> mine = strips();
        for (int i = 0; i < mine.size(); i++) {
            Tensor strip = mine.get(i);
            try (TensorArena scratch = device.arena()) {
                Tensor received = scratch.matrix(DType.F32, strip.rows(), strip.columns());
                source.read(i, received);
                device.matrix().copy(received, strip);
            }
        }
        current = node;
        end();
    }

    /**
     * Brings the sums of all ranks, whose parts follow each other, to one of them; those of the others are empty after that. Every
     * part must have ended, and all ranks call this.
     */
    void gather(Ranks ranks, int owner) {
        if (ranks.rank() != owner) {
            give(SumMessages.between(ranks, owner));
            return;
        }
        try (Arena host = Arena.ofShared()) {
            SumMessages mine = SumMessages.toItself(host);
            give(mine);
            for (int rank = 0; rank < ranks.size(); rank++) {
                take(rank == owner ? mine : SumMessages.between(ranks, rank));
            }
        }
    }

    private void give(SumMessages messages) {
        if (current.count > 0) {
            keep();
            current = Node.NONE;
        }
        messages.put(kept.size());
        for (Kept node : kept) {
            messages.put(node.node.first, node.node.count);
            node.strips.forEach(strip -> messages.put(device, strip));
            node.arena.close();
        }
        kept.clear();
    }

    private void take(SumMessages messages) {
        long nodes = messages.get(1)[0];
        for (long i = 0; i < nodes; i++) {
            long[] node = messages.get(2);
            take(new Node(Math.toIntExact(node[0]), Math.toIntExact(node[1])),
                    (strip, received) -> messages.get(device, received));
        }
    }

    /** Adds the remaining nodes if the number of parts is not a power of two. */
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

    /** The relevant part of the matrix. */
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
