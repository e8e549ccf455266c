package dev.optgptq.gptq.run.memory;

import dev.optgptq.calibrate.capture.HessianAccumulator;
import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.journal.WriteBehind;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.settings.RunTexts;
import dev.optgptq.gptq.solve.SiteSolver;
import org.jspecify.annotations.Nullable;

/**
 * What a run will need at its peak, computed before it starts. All in bytes. Evaluating and quantizing come one after the
 * other, so that the larger of them counts. A device that computes in the host's memory takes from that; one with memory of
 * its own is planned for what is free there.
 *
 * @param free what there is
 * @param weights one decoder block, in the dtype of the products
 * @param hessians one F32 [n, n] per site
 * @param waiting parts of the Hessians' sums that wait for others, so that several devices sum as one does
 * @param solving the damped copy and the factor of the largest site, and the copies of the largest linear
 * @param forward buffers of one batch
 * @param cut how the calibration is cut up
 * @param residual the residual stream; where blocks are refined, also those of the original model and of plain GPTQ
 * @param refining all that refining blocks and learning takes on the device but for the streams, in place of weights,
 *     Hessians, solving and forward; 0 where blocks are not refined
 * @param gradients what finding those weights takes, before quantizing; nothing where all tokens count the same
 * @param hostLimit the most that tokens' activations may take on the host before they go to a temporary file
 * @param evaluation all that evaluating takes: a block, the head, buffers, residual stream, logits; 0 without it
 * @param writing what may wait on the host to be written: the packed tensors of one block
 * @param learning the block inputs that learning over the whole model keeps on the host; 0 without it
 * @param ahead the blocks that are uploaded while others are computed, as they are stored, beside quantizing; 0 where
 *     there is no room, or nothing to upload to
 */
public record MemoryPlan(MemoryNeed.Free free, long weights, long hessians, long waiting, long solving, long forward,
        Cut cut,
        Residual residual, long refining, Saliency.Memory gradients, long hostLimit, long evaluation, long writing,
        long learning, long ahead) {

    private static final long PROCESS = MemoryNeed.PROCESS;
    /** Share of the available memory that the residual stream may take. */
    private static final double STREAM_SHARE = 0.25;
    /** Block inputs that the gradients keep: enough sequences at once that loading blocks costs nothing beside them. */
    private static final long GROUP_BYTES = 256L << 20;
    /** Buffers that a device of its own memory copies through, two for each of its two streams. */
    private static final long PAGE_LOCKED = 4 * (16L << 20);
    /** Into how many parts the calibration is cut on such devices, where that fits: eight is as many as most nodes have. */
    private static final int PARTS = 8;
    static final long LIBRARIES = MemoryNeed.LIBRARIES;
    /** Tokens of a batch on such a device, where they fit: launches and half-filled tiles then cost little. */
    private static final int DEVICE_BATCH_TOKENS = 8192;

    /** Where the residual stream lies between blocks. */
    public enum Place {
        DEVICE, HOST, FILE
    }

    /**
     * How the calibration is cut up.
     *
     * @param batchRows tokens that run at once; 0 without a calibration
     * @param parts the most devices that can share it
     * @param devices how many do
     */
    record Cut(int batchRows, int parts, int devices) {
        private static final Cut NONE = new Cut(0, 1, 1);
    }

    /**
     * Activations between blocks.
     *
     * @param bytes all of them
     * @param share what the first of several devices would hold, which has the most
     */
    record Residual(long bytes, long share, Place place) {

        private Residual in(Place other) {
            return new Residual(bytes, share, other);
        }
    }

    /**
     * What a run is about.
     *
     * @param products dtype of what the linears multiply while calibrating
     * @param bits of a packed weight
     * @param groupSize inputs per scale, -1 for all
     * @param refinement what gradient calibration does; null for other calibrators
     * @param devices that share it
     */
    public record Job(ModelSpec model, DType products, int bits, int groupSize, @Nullable Refinement refinement,
            int devices) {

        /** Whether tokens are weighed by the loss's gradient. */
        boolean weighs() {
            return refinement != null && refinement.weighTokens();
        }

        /** How many streams of all sequences lie between blocks: that of the original model may be the second. */
        int streams() {
            return refinement != null && refinement.followsOriginal() ? 2 : 1;
        }

        /** How many sequences lie between blocks, those counted twice that lie there as two models have them. */
        long sequences(int calibration) {
            if (refinement == null) {
                return calibration;
            }
            int alone = refinement.followsOriginal() ? 1 : 2;
            return (long) streams() * calibration + (long) alone * Refinement.heldOut(calibration);
        }

        /** Inputs per scale; more than there are for all. */
        int inputsPerScale() {
            return groupSize == QuantizationConfig.ONE_GROUP ? Integer.MAX_VALUE : groupSize;
        }
    }

    /** @param texts what calibrates and evaluates, if anything */
    public static MemoryPlan of(Job job, RunTexts texts, MemoryNeed.Free free) {
        ModelSpec model = job.model();
        TokenSequences evaluation = texts.evaluation();
        long evaluating = evaluation == null
                ? 0
                : ModelComparison.peakBytes(model, model, evaluation.count(), evaluation.length())
                        + largestPacked(job);
        long copies = model.most(
                block -> block.linears().stream().mapToLong(linear -> solvingLinear(linear, job)).max().orElse(0));
        long weights = Transformer.blockBytes(model, job.products());
        long writing = model.most(block -> block.linears().stream().mapToLong(linear -> packed(linear, job)).sum());
        TokenSequences calibration = texts.calibration();
        if (calibration == null) {
            return new MemoryPlan(free, weights, 0, 0, copies, 0, Cut.NONE, new Residual(0, 0, Place.HOST), 0,
                    Saliency.Memory.NONE, 0,
                    evaluating, writing, 0, 0);
        }
        long hessians = model.most(block -> HessianAccumulator.bytes(block, block.sites(), 1));
        long largestSite = square(model.widestInput());
        long stream = 4L * model.hiddenSize() * calibration.length() * job.sequences(calibration.count());
        long limit = streamLimit(free.host());
        Saliency.Memory gradients = job.weighs()
                ? Saliency.memory(model, calibration, gradientLimits(free, limit))
                : Saliency.Memory.NONE;
        Refinement refinement = job.refinement();
        long learning = refinement == null ? 0 : RefineMemory.inputBytes(model, refinement, calibration, limit);
        MemoryPlan smallest = new MemoryPlan(free, weights, hessians, 0, 2 * largestSite + copies, 0, Cut.NONE,
                new Residual(stream, stream, stream > limit ? Place.FILE : Place.HOST), 0, gradients, limit, evaluating,
                writing, learning, 0);
        return free.device().isEmpty()
                ? smallest.with(job, calibration, CalibrationBatch.TOKENS, 1)
                : smallest.onDevice(job, calibration).shared(job, calibration);
    }

    /**
     * For one device, since the batch and the parts decide bits that must not depend on how many there are: with the stream
     * on the device, else without it, in as many parts, else in as large batches as fit; else the smallest of all.
     */
    private MemoryPlan onDevice(Job job, TokenSequences calibration) {
        for (MemoryPlan placed : new MemoryPlan[] {in(Place.DEVICE), this}) {
            for (int cut = PARTS; cut > 0; cut /= 2) {
                int most = (int) Math.max(calibration.length(),
                        Math.min(DEVICE_BATCH_TOKENS, calibration.tokens() / cut));
                for (int tokens = most; tokens > calibration.length() / 2; tokens /= 2) {
                    MemoryPlan plan = placed.with(job, calibration, tokens, cut);
                    if (plan.fitsDevice()) {
                        return plan;
                    }
                }
            }
        }
        return with(job, calibration, 1, 1);
    }

    /** Several devices each hold a part of the stream, which may then fit them. */
    private MemoryPlan shared(Job job, TokenSequences calibration) {
        if (job.devices() == 1) {
            return this;
        }
        MemoryPlan shared = with(new Cut(batchRows(), parts(), job.devices()), residual);
        long sequence = stream() / job.sequences(calibration.count());
        long first = Partition.rows(shared.partition(calibration).all(0)) / calibration.length();
        long ofAll = job.streams() * first;
        long heldOut = job.sequences(calibration.count()) - (long) job.streams() * calibration.count();
        MemoryPlan held = shared.with(shared.cut,
                new Residual(stream(), sequence * (ofAll + heldOut), residual.place()));
        MemoryPlan there = held.in(Place.DEVICE);
        return there.fitsDevice() ? there : held;
    }

    /**
     * The same run with blocks uploaded ahead, where there is room beside all else: it decides no bits, and must not.
     *
     * @param bytes that they take
     */
    public MemoryPlan prefetching(long bytes) {
        MemoryPlan with = new MemoryPlan(free, weights, hessians, waiting, solving, forward, cut, residual, refining,
                gradients, hostLimit, evaluation, writing, learning, bytes);
        return free.device().isPresent() && with.fitsDevice() ? with : this;
    }

    /** Who does what of the calibration. */
    public Partition partition(TokenSequences calibration) {
        long heldOut = refining > 0
                ? (long) Refinement.heldOut(calibration.count()) * calibration.length()
                : 0;
        return Partition.of(calibration.tokens() - heldOut, heldOut, batchRows(), parts(), cut.devices());
    }

    private MemoryPlan in(Place other) {
        return with(cut, residual.in(other));
    }

    private MemoryPlan with(Cut otherCut, Residual otherResidual) {
        return new MemoryPlan(free, weights, hessians, waiting, solving, forward, otherCut, otherResidual, refining,
                gradients, hostLimit, evaluation, writing, learning, ahead);
    }

    public int batchRows() {
        return cut.batchRows();
    }

    public int parts() {
        return cut.parts();
    }

    long stream() {
        return residual.bytes();
    }

    public Place place() {
        return residual.place();
    }

    private MemoryPlan with(Job job, TokenSequences calibration, int tokens, int intoParts) {
        ModelSpec model = job.model();
        int rows = CalibrationBatch.rows(tokens, calibration.length(), calibration.count());
        long buffers = 4L * rows * model.hiddenSize()
                + Transformer.workspaceBytes(model, job.products(), rows, calibration.length());
        Refinement refinement = job.refinement();
        long refined = refinement == null
                ? 0
                : RefineMemory.of(model, refinement, job.inputsPerScale(), calibration, rows, intoParts).peak();
        long sums = model.most(block -> HessianAccumulator.bytes(block, block.sites(), intoParts));
        return new MemoryPlan(free, weights, hessians, sums - hessians, solving, buffers,
                new Cut(rows, intoParts, cut.devices()), residual, refined, gradients, hostLimit, evaluation, writing,
                learning, ahead);
    }

    /** Where products are of halves, a linear is solved in a copy. */
    private static long solvingLinear(LinearSpec linear, Job job) {
        int groups = job.groupSize() == QuantizationConfig.ONE_GROUP
                ? 1
                : Math.ceilDiv(linear.inputs(), job.groupSize());
        long widened = job.products() == DType.F32 ? 0 : 4L * linear.inputs() * linear.outputs();
        return widened + SiteSolver.peakBytes(linear.inputs(), linear.outputs(), groups);
    }

    /** Its packed tensors, as they lie in the memory where they wait. */
    private static long packed(LinearSpec linear, Job job) {
        return new PackedLayout(linear.module(), job.bits(), job.groupSize(), linear.inputs(), linear.outputs())
                .tensors().stream().mapToLong(tensor -> WriteBehind.aligned(tensor.bytes())).sum();
    }

    /** A packed linear lies on the device as it is stored while it is unpacked. */
    private static long largestPacked(Job job) {
        return job.model().most(
                block -> block.linears().stream().mapToLong(linear -> packed(linear, job)).max().orElse(0));
    }

    /** The largest residual stream that is held in memory. */
    static long streamLimit(long available) {
        return (long) (STREAM_SHARE * Math.min(available, 1L << 50));
    }

    /** The residual stream in the host's memory. */
    long activations() {
        return place() == Place.HOST ? stream() : 0;
    }

    /** The residual stream in a temporary file. */
    public long spilled() {
        return place() == Place.FILE ? stream() : 0;
    }

    /** On the host and on the devices together. */
    public long total() {
        return free.device().isPresent() ? host() + busyDevices() * device() : host();
    }

    /** What of it is the host's memory. */
    private long host() {
        if (free.device().isPresent()) {
            return PROCESS + cut.devices() * PAGE_LOCKED
                    + Math.max(cut.devices() * gradients.inputs(), activations() + Math.max(writing, learning))
                    + gradients.kept();
        }
        long calibrating = Math.max(gradients.device() + gradients.inputs(),
                quantizing() + activations() + Math.max(writing, learning));
        return PROCESS + Math.max(evaluation, calibrating + gradients.kept());
    }

    /** What of it is allocated on the device. */
    public long device() {
        return Math.max(evaluation, Math.max(gradients.device(), quantizing() + ahead));
    }

    private boolean fitsDevice() {
        return device() + LIBRARIES <= free.device().orElse(Long.MAX_VALUE);
    }

    private long quantizing() {
        long blocks = refining > 0 ? refining : weights + hessians + Math.max(solving, forward + waiting);
        return blocks + (place() == Place.DEVICE ? residual.share() : 0);
    }

    /** Devices that have something to do. */
    public int busyDevices() {
        return Math.min(parts(), cut.devices());
    }

    /** What finding the weights of tokens may take. */
    public Saliency.Limits gradientLimits() {
        return gradientLimits(free, hostLimit);
    }

    /** All of a device's own memory, of the host's no more than tokens' activations may take. */
    private static Saliency.Limits gradientLimits(MemoryNeed.Free free, long limit) {
        return new Saliency.Limits(Math.min(GROUP_BYTES, limit), limit,
                free.device().isPresent() ? free.device().getAsLong() - LIBRARIES : limit);
    }

    /** Throws UserError MEMORY when the plan cannot work. */
    public void require() {
        String onHost = "; a smaller --sequence-length lowers the batch buffers only" + lighter()
                + (evaluation > quantizing() + activations() ? ", and --eval none spares the evaluation" : "");
        String onDevice = lighter() + (evaluation > quantizing() ? "; --eval none spares the evaluation" : "");
        new MemoryNeed("this run", host(), device() + LIBRARIES, toString())
                .require(free, new MemoryNeed.Remedies(onHost, onDevice));
    }

    /** What asks for less. */
    private String lighter() {
        return refining > 0 ? "; --tune 0 needs less, and --calibrator gptq least" : "";
    }

    private static long square(long n) {
        return 4 * n * n;
    }

    private static String mebibytes(long bytes) {
        return (bytes >> 20) + " MiB";
    }

    @Override
    public String toString() {
        return "one block of weights " + mebibytes(weights) + ", Hessians " + mebibytes(hessians) + ", solving "
                + mebibytes(solving) + ", activations " + mebibytes((place() == Place.FILE ? 0 : stream()) + forward)
                + (spilled() > 0 ? ", " + mebibytes(spilled()) + " in a temporary file" : "")
                + (refining > 0 ? ", refining instead " + mebibytes(refining) : "")
                + (gradients.device() > 0
                        ? ", weights of tokens " + mebibytes(gradients.kept()) + "; gradients instead "
                                + mebibytes(gradients.device() + gradients.inputs())
                        : "")
                + ", waiting to be written " + mebibytes(writing)
                + (learning > 0 ? ", or what learning the whole model starts from " + mebibytes(learning) : "")
                + (evaluation > 0 ? "; evaluating instead " + mebibytes(evaluation) : "") + "; process "
                + mebibytes(PROCESS) + (free.device().isPresent() ? "; on the device " + onDevice() : "");
    }

    private String onDevice() {
        String batches = batchRows() == 0
                ? ""
                : ", batches of " + batchRows() + " tokens, the stream between blocks "
                        + (place() == Place.DEVICE ? "there" : "on the host")
                        + (cut.devices() == 1 ? "" : ", " + parts() + " parts for " + cut.devices() + " devices");
        return mebibytes(device() + LIBRARIES) + " of " + mebibytes(free.device().orElse(0)) + " free" + batches
                + (ahead > 0 ? ", blocks uploaded ahead in " + mebibytes(ahead) : ", no room to upload blocks ahead");
    }
}
