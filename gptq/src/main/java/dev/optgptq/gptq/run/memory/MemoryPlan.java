package dev.optgptq.gptq.run.memory;

import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.run.memory.Placement.Place;
import dev.optgptq.gptq.settings.RunTexts;

/**
 * Peak memory of a run, in bytes, computed before it starts. Its phases run one after the other, so the largest counts.
 * A device that shares the host's memory uses that; one with its own memory is planned within what is free there.
 *
 * @param free free memory
 * @param needs memory that does not depend on the placement
 * @param placement batches, parts and devices, with their memory
 */
public record MemoryPlan(MemoryNeed.Free free, MemoryNeeds needs, Placement placement) {

    /** Staging buffers of a device with its own memory, two for each of its three streams. */
    private static final long PAGE_LOCKED = 6 * (16L << 20);

    /** @param texts calibration and evaluation text, if any */
    public static MemoryPlan of(MemoryJob job, RunTexts texts, MemoryNeed.Free free) {
        MemoryNeeds needs = MemoryNeeds.of(job, texts, free);
        TokenSequences calibration = texts.calibration();
        return new MemoryPlan(free, needs,
                calibration == null
                        ? Placement.NONE.shared(job.crew(), 0)
                        : new PlacementSearch(job, calibration, free, needs).run());
    }

    /**
     * The same run with copies from and to the device beside its work, if there is room beside everything else: blocks are prefetched,
     * and a block's packed tensors wait there to be copied. This does not change the result.
     *
     * @param prefetched bytes of prefetched blocks
     */
    public MemoryPlan copyingBeside(long prefetched) {
        MemoryPlan prefetching = with(prefetched, 0);
        return prefetching.with(prefetching.placement.ahead(), needs.writing());
    }

    private MemoryPlan with(long ahead, long behind) {
        MemoryPlan with = new MemoryPlan(free, needs, placement.copyingBeside(ahead, behind));
        return ownMemory() && with.fitsDevice() ? with : this;
    }

    /** How the devices share the calibration. */
    public Partition partition(TokenSequences calibration) {
        long heldOut = placement.refining() > 0
                ? (long) Refinement.heldOut(calibration.count()) * calibration.length()
                : 0;
        return Partition.of(calibration.tokens() - heldOut, heldOut, batchRows(), parts(), placement.cut().devices());
    }

    /** Tokens that run at once; 0 without a calibration. */
    public int batchRows() {
        return placement.cut().batchRows();
    }

    /** The most devices that can share the calibration. */
    public int parts() {
        return placement.cut().parts();
    }

    /** Devices that have something to do. */
    public int busyDevices() {
        return Math.min(parts(), placement.cut().devices());
    }

    /** The residual stream in the host's memory. */
    long activations() {
        return placement.place() == Place.HOST ? needs.stream() : 0;
    }

    /** The residual stream in a temporary file. */
    public long spilled() {
        return placement.place() == Place.FILE ? needs.stream() : 0;
    }

    /** How many experts of a mixture have Hessians at once. */
    public ExpertPasses experts() {
        return needs.experts();
    }

    /** Memory that the gradient pass may use. */
    public Saliency.Limits gradientLimits() {
        return MemoryNeeds.gradientLimits(free, needs.hostLimit(), needs.experts());
    }

    /** On the host and on the devices of a process together. */
    public long total() {
        return ownMemory() ? host() + Math.min(parts(), placement.cut().ofOneProcess()) * device() : host();
    }

    /** The part in host memory. */
    private long host() {
        return process() + Math.max(evaluatingOnHost(), Math.max(gradientsOnHost(), quantizingOnHost()));
    }

    /** The process itself, and the buffers that a device of its own memory copies through. */
    long process() {
        return MemoryNeed.PROCESS + (ownMemory() ? placement.cut().ofOneProcess() * PAGE_LOCKED : 0);
    }

    long evaluatingOnHost() {
        return ownMemory() ? 0 : needs.evaluation();
    }

    /** The gradient pass, with the token weights that it keeps. */
    long gradientsOnHost() {
        Saliency.Memory gradients = needs.gradients();
        return gradients.kept() + (ownMemory()
                ? placement.cut().ofOneProcess() * gradients.inputs()
                : gradients.device() + gradients.inputs());
    }

    /** Quantizing, with the token weights. */
    long quantizingOnHost() {
        return needs.gradients().kept() + (ownMemory() ? 0 : quantizing()) + activations()
                + needs.experts().onHost()
                + Math.max(needs.writing(), needs.learning());
    }

    /** The part allocated on the device. */
    public long device() {
        return Math.max(needs.evaluation(),
                Math.max(needs.gradients().device(), quantizing() + placement.ahead() + placement.behind()));
    }

    /** Device memory of quantizing, without what is copied beside it. */
    long quantizing() {
        long blocks = placement.refining() > 0
                ? placement.refining()
                : needs.weights() + needs.hessians()
                        + Math.max(solving(), placement.forward() + placement.waiting());
        return blocks + placement.onDevice();
    }

    /** Solving, with what several devices or ranks have solved and not yet brought together. */
    long solving() {
        return needs.solving() + (placement.cut().devices() > 1 ? needs.unshared() : 0);
    }

    boolean fitsDevice() {
        return device() + MemoryNeed.LIBRARIES <= free.device().orElse(Long.MAX_VALUE);
    }

    boolean ownMemory() {
        return free.device().isPresent();
    }

    /** Throws UserError MEMORY when the plan cannot work. */
    public void require() {
        String onHost = "; a smaller --sequence-length lowers the batch buffers only" + lighter()
                + (needs.evaluation() > quantizing() + activations() ? ", and --eval none spares the evaluation" : "");
        String onDevice = lighter()
                + (needs.evaluation() > quantizing() ? "; --eval none spares the evaluation" : "");
        new MemoryNeed("this run", host(), device() + MemoryNeed.LIBRARIES, toString())
                .require(free, new MemoryNeed.Remedies(onHost, onDevice));
    }

    /** Settings that need less. */
    private String lighter() {
        return placement.refining() > 0 ? "; --tune 0 needs less, and --calibrator gptq least" : "";
    }

    @Override
    public String toString() {
        return PlanText.of(this, host());
    }
}
