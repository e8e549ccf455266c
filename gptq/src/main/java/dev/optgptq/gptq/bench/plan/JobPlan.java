package dev.optgptq.gptq.bench.plan;

import java.util.List;

/**
 * What a job of plain GPTQ, 4 bits in groups of 128, would take.
 *
 * @param schemaVersion 1
 * @param tool name and version of this program
 * @param rates the card that the rates are of
 * @param nodes of the job, each with this many cards
 * @param busy cards that share passes over the calibration: a job has at most eight parts
 * @param phases one after the other; of what runs beside another phase, the time that is waited for
 * @param seconds all of them
 * @param device bytes on a card, as quantize plans them
 * @param cardMemory bytes that a card has
 * @param host bytes on a node, devices not included
 */
public record JobPlan(int schemaVersion, String tool, String shape, double parameters, String rates, int nodes,
        int cards, int busy,
        int samples, int sequenceLength, List<Phase> phases, double seconds, long device, long cardMemory, long host) {

    /**
     * A phase.
     *
     * @param operations floating-point operations of all cards; 0 for copies
     * @param bytes that cross the slowest way; 0 for arithmetic
     */
    public record Phase(String name, double seconds, double operations, double bytes) {}
}
