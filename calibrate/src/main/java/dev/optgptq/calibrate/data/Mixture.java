package dev.optgptq.calibrate.data;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/** Sequences of several texts in given proportions. */
final class Mixture {

    private Mixture() {}

    /** How many of all each gets: in proportion, with what rounding leaves over going to the largest remainders. */
    static int[] counts(double[] weights, int all) {
        double sum = Arrays.stream(weights).sum();
        int[] counts = new int[weights.length];
        double[] remainders = new double[weights.length];
        for (int i = 0; i < weights.length; i++) {
            double exact = all * weights[i] / sum;
            counts[i] = (int) exact;
            remainders[i] = exact - counts[i];
        }
        int left = all - Arrays.stream(counts).sum();
        IntStream.range(0, weights.length).boxed().sorted(Comparator.comparingDouble(i -> -remainders[i])).limit(left)
                .forEach(i -> counts[i]++);
        return counts;
    }

    /** The first of each, as many as proportions allow: at least one, and all of the one that limits. */
    static TokenSequences[] shares(double[] weights, TokenSequences[] parts) {
        double scale = IntStream.range(0, parts.length).mapToDouble(i -> parts[i].count() / weights[i]).min()
                .orElse(1);
        TokenSequences[] shares = new TokenSequences[parts.length];
        for (int i = 0; i < parts.length; i++) {
            int count = Math.clamp(Math.round(scale * weights[i]), 1, parts[i].count());
            shares[i] = parts[i].select(IntStream.range(0, count).toArray());
        }
        return shares;
    }

    /** All of one length, each part's spread evenly over the whole, so that every stretch has the same proportions. */
    static TokenSequences spread(TokenSequences[] parts) {
        if (parts.length == 1) {
            return parts[0];
        }
        record Place(double at, int part, int index) {}
        Place[] places = IntStream.range(0, parts.length).boxed()
                .flatMap(part -> IntStream.range(0, parts[part].count())
                        .mapToObj(i -> new Place((i + 0.5) / parts[part].count(), part, i)))
                .sorted(Comparator.comparingDouble(Place::at).thenComparingInt(Place::part)).toArray(Place[]::new);
        int length = parts[0].length();
        int[] ids = new int[Math.multiplyExact(places.length, length)];
        for (int i = 0; i < places.length; i++) {
            System.arraycopy(parts[places[i].part()].ids(), places[i].index() * length, ids, i * length, length);
        }
        return new TokenSequences(ids, places.length, length);
    }
}
