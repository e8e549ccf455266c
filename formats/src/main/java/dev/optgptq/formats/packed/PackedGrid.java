package dev.optgptq.formats.packed;

import java.util.List;

/**
 * What the codes of a linear are, without where they stand.
 *
 * @param bits of a code, one of BITS
 * @param groupSize inputs per scale; -1 for one group per output
 * @param symmetric whether every zero point is 2^(bits-1)
 * @param descAct whether groups hold inputs that are not neighbours
 */
public record PackedGrid(int bits, int groupSize, boolean symmetric, boolean descAct) {

    /** What bits can be, rising. */
    public static final List<Integer> BITS = List.of(2, 3, 4, 8);

    @Override
    public String toString() {
        return bits + " bits, " + (symmetric ? "symmetric" : "asymmetric") + ", "
                + (groupSize == QuantizationConfig.ONE_GROUP ? "one group" : "groups of " + groupSize)
                + (descAct ? " by activity" : "");
    }
}
