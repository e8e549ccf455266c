package dev.optgptq.kernels.ranks;

import java.util.List;
import java.util.stream.IntStream;

/**
 * The ranks of a job, and the devices that each brings: those of rank 0 come first, then those of rank 1.
 *
 * @param counts devices by rank
 */
public record Crew(Ranks ranks, List<Integer> counts) {

    public Crew {
        counts = List.copyOf(counts);
    }

    /** One process. */
    public static Crew alone(int devices) {
        return new Crew(new Alone(), List.of(devices));
    }

    /** All ranks tell each other how many devices they have. */
    public static Crew of(Ranks ranks, int devices) {
        return new Crew(ranks, ranks.exchange(devices).stream().map(count -> Math.toIntExact(count[0])).toList());
    }

    /** A device of this process among those of all. */
    public int index(int device) {
        return firstOf(ranks.rank()) + device;
    }

    private int firstOf(int rank) {
        return IntStream.range(0, rank).map(counts::get).sum();
    }

    /** Devices of the rank that has most. */
    public int most() {
        return counts.stream().mapToInt(Integer::intValue).max().orElseThrow();
    }

    /** Devices of all ranks. */
    public int devices() {
        return firstOf(counts.size());
    }
}
