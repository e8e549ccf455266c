package dev.optgptq.gptq.solve;

import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * The order in which the inputs of a linear are quantized, and the group that each belongs to.
 *
 * @param order order[k] is the k-th input to be quantized
 * @param groupOf groupOf[k] is the group of the k-th input, in that order
 * @param groupSize inputs per group
 * @param runs whether groups are contiguous in this order; otherwise in the inputs' own order
 */
record InputOrder(int[] order, int[] groupOf, int groupSize, boolean runs) {

    /** @param energy the Hessian's diagonal: the energy of each input's activation */
    static InputOrder of(ActOrder actOrder, float[] energy, int groupSize) {
        int[] order = switch (actOrder) {
            case NONE -> IntStream.range(0, energy.length).toArray();
            case STATIC, GROUP -> byFallingEnergy(energy);
        };
        boolean runs = actOrder != ActOrder.STATIC;
        int[] groupOf = IntStream.range(0, order.length).map(k -> (runs ? k : order[k]) / groupSize).toArray();
        return new InputOrder(order, groupOf, groupSize, runs);
    }

    /** An order with contiguous groups: this one, or the inputs' own. */
    InputOrder ofGroups() {
        int[] own = IntStream.range(0, order.length).toArray();
        return runs ? this : new InputOrder(own, IntStream.of(own).map(i -> i / groupSize).toArray(), groupSize, true);
    }

    int inputs() {
        return order.length;
    }

    int groups() {
        return Math.ceilDiv(order.length, groupSize);
    }

    boolean isIdentity() {
        return IntStream.range(0, order.length).allMatch(k -> order[k] == k);
    }

    /** The position of each input in the order. */
    int[] positions() {
        int[] positions = new int[order.length];
        for (int k = 0; k < order.length; k++) {
            positions[order[k]] = k;
        }
        return positions;
    }

    /** The g_idx: the group of each input, in the inputs' own order. */
    int[] gIdx() {
        int[] gIdx = new int[order.length];
        for (int k = 0; k < order.length; k++) {
            gIdx[order[k]] = groupOf[k];
        }
        return gIdx;
    }

    /** Stable, so that equal energies keep the inputs' own order on every machine. */
    private static int[] byFallingEnergy(float[] energy) {
        return IntStream.range(0, energy.length).boxed().sorted(Comparator.comparingDouble(i -> -energy[i]))
                .mapToInt(Integer::intValue).toArray();
    }
}
