package dev.optgptq.gptq.run.memory;

import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.gptq.run.memory.Placement.Place;

/**
 * Finds the placement of a run: the batch and the parts for one device, since they decide bits that must not depend on how
 * many there are; then the stream's place on those that share it.
 */
final class PlacementSearch {

    /** Number of parts of the calibration, if they fit: eight, the number of devices in most nodes. */
    private static final int PARTS = 8;
    /** The same on CPUs: the sums that wait for their neighbours then stay below what solving takes. */
    private static final int CPU_PARTS = 4;
    /** Tokens of a batch on such a device, if they fit: launches and half-filled tiles then cost little. */
    private static final int DEVICE_BATCH_TOKENS = 8192;

    private final MemoryJob job;
    private final TokenSequences calibration;
    private final MemoryNeed.Free free;
    private final MemoryNeeds needs;

    PlacementSearch(MemoryJob job, TokenSequences calibration, MemoryNeed.Free free, MemoryNeeds needs) {
        this.job = job;
        this.calibration = calibration;
        this.free = free;
        this.needs = needs;
    }

    Placement run() {
        if (free.device().isEmpty()) {
            Placement placement = at(tokens(CalibrationBatch.TOKENS, CPU_PARTS), CPU_PARTS, needs.offDevice());
            return placement.shared(job.crew(), needs.stream());
        }
        Placement alone = onOneDevice();
        return job.crew().devices() == 1 ? alone : shared(alone);
    }

    /**
     * First choice: the stream on the device; then without it, in as many parts; then in the largest batches that fit;
     * else the smallest of all.
     */
    private Placement onOneDevice() {
        for (Place place : new Place[] {Place.DEVICE, needs.offDevice()}) {
            for (int parts = PARTS; parts > 0; parts /= 2) {
                int most = tokens(DEVICE_BATCH_TOKENS, parts);
                for (int tokens = most; tokens > calibration.length() / 2; tokens /= 2) {
                    Placement placement = at(tokens, parts, place);
                    if (plan(placement).fitsDevice()) {
                        return placement;
                    }
                }
            }
        }
        return at(1, 1, needs.offDevice());
    }

    /** Tokens of a batch, at most so many, of which every part has one. */
    private int tokens(int most, int parts) {
        return (int) Math.max(calibration.length(), Math.min(most, calibration.tokens() / parts));
    }

    /** Several devices each hold a part of the stream, which may then fit them, beside what they have solved. */
    private Placement shared(Placement alone) {
        int count = calibration.count();
        Partition partition = plan(alone.shared(job.crew(), needs.stream())).partition(calibration);
        long first = Partition.rows(partition.all(0)) / calibration.length();
        long sequence = needs.stream() / job.sequences(count);
        Placement held = alone.shared(job.crew(),
                sequence * (job.streams() * first + job.heldOut(count)));
        Placement there = held.at(Place.DEVICE);
        return plan(there).fitsDevice() ? there : held.at(needs.offDevice());
    }

    private Placement at(int tokens, int parts, Place place) {
        return Placement.of(job, calibration, tokens, parts, place, needs);
    }

    private MemoryPlan plan(Placement placement) {
        return new MemoryPlan(free, needs, placement);
    }
}
