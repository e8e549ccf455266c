package dev.optgptq.calibrate.capture;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Together;
import java.util.ArrayList;
import java.util.List;

/**
 * Distribution of the calibration tokens over devices. Training tokens are divided into parts, which are spread over
 * the devices; the held-out tokens for validation belong to the first device. Where several processes share a job,
 * each numbers its own devices from 0.
 *
 * @param summed parts of the training tokens, in order
 * @param heldOut the tokens after them, at most one part
 * @param batchRows tokens that run at once, whole sequences
 * @param devices number of devices, of all processes
 * @param first which of them is this process's first
 */
public record Partition(List<Shard> summed, List<Shard> heldOut, int batchRows, int devices, int first) {

    public Partition {
        summed = List.copyOf(summed);
        heldOut = List.copyOf(heldOut);
    }

    /**
     * Divides tokens.
     *
     * @param rows training tokens
     * @param heldOut tokens after them
     * @param parts of the training tokens
     */
    public static Partition of(long rows, long heldOut, int batchRows, int parts, int devices) {
        return new Partition(Shard.cut(rows, batchRows, parts),
                heldOut == 0 ? List.of() : List.of(new Shard(0, rows, heldOut)), batchRows, devices, 0);
    }

    /** The same for a process whose first device is the {@code first} of all. */
    public Partition from(int first) {
        return new Partition(summed, heldOut, batchRows, devices, first);
    }

    /** The same for only the held-out tokens, counted from the first of them. */
    public Partition ofHeldOut() {
        return of(0, rows(heldOut), batchRows, 1, devices).from(first);
    }

    /** The parts that a device sums over. */
    public List<Shard> summed(int device) {
        return summed.subList(Together.from(summed.size(), first + device, devices),
                Together.from(summed.size(), first + device + 1, devices));
    }

    /** The held-out tokens, if they are a device's. */
    public List<Shard> heldOut(int device) {
        return first + device == 0 ? heldOut : List.of();
    }

    /** All that a device runs. */
    public List<Shard> all(int device) {
        List<Shard> all = new ArrayList<>(summed(device));
        all.addAll(heldOut(device));
        return all;
    }

    /** Goes through some parts in batches. */
    public void eachBatch(List<Shard> parts, Batch batch) {
        for (Shard part : parts) {
            eachBatch(part, batch);
        }
    }

    /** Goes through a part in batches. */
    public void eachBatch(Shard part, Batch batch) {
        for (long row = part.first(); row < part.end(); row += batchRows) {
            batch.run(row, Math.min(batchRows, part.end() - row));
        }
    }

    /** Some rows of a part. */
    @FunctionalInterface
    public interface Batch {
        /**
         * Runs them.
         *
         * @param first of all tokens
         * @param count tokens
         */
        void run(long first, long count);
    }

    /** All tokens. */
    public long rows() {
        return rows(summed) + rows(heldOut);
    }

    /** Tokens of some parts. */
    public static long rows(List<Shard> parts) {
        return parts.stream().mapToLong(Shard::rows).sum();
    }

    /** Which device of this process holds which rows of a stream, if each holds the rows that it runs. */
    List<ActivationStore.Share> shares(List<Device> on) {
        List<ActivationStore.Share> shares = new ArrayList<>();
        for (int device = 0; device < on.size(); device++) {
            for (List<Shard> some : List.of(summed(device), heldOut(device))) {
                if (!some.isEmpty()) {
                    shares.add(new ActivationStore.Share(on.get(device), some.getFirst().first(), rows(some)));
                }
            }
        }
        return shares;
    }
}
