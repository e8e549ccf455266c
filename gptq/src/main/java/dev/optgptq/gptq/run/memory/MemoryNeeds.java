package dev.optgptq.gptq.run.memory;

import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.calibrate.capture.MixtureInputs;
import dev.optgptq.calibrate.capture.ParkedHessians;
import dev.optgptq.calibrate.capture.SitePasses;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.settings.RunTexts;
import org.jspecify.annotations.Nullable;

/**
 * Memory of a run that does not depend on its placement, in bytes. {@link Placement} has what depends on batches, parts
 * and devices.
 *
 * @param weights one decoder block in the matmul dtype, of its experts one unless all are inputs of the next part
 * @param hessians one F32 [n, n] per site, of experts those of one pass
 * @param experts of a mixture, how many of them
 * @param solving the damped copy and the factor of the largest site, and the copies of the largest linear
 * @param unshared what a rank has solved and its devices have not yet brought together, if there are several; it decides where the
 *     stream lies, not batches, which are those of one device
 * @param stream the residual stream between blocks; where blocks are refined, also those of the original model and of
 *     plain GPTQ
 * @param gradients memory of the gradient pass, before quantizing; none if all tokens count the same
 * @param evaluation memory of the evaluation: a block, the head, buffers, residual stream, logits; 0 without it
 * @param writing the write queue on the host: the packed tensors of one block
 * @param learning block inputs on the host for tuning the whole model; 0 without it
 * @param hostLimit host memory above which activations go to a temporary file
 */
public record MemoryNeeds(long weights, long hessians, ExpertPasses experts, long solving, long unshared,
        long stream,
        Saliency.Memory gradients,
        long evaluation,
        long writing, long learning, long hostLimit) {

    /** Share of the available memory that the residual stream may take. */
    private static final double STREAM_SHARE = 0.25;
    /** Share of the memory where they are that Hessians of experts may take, before they are summed in several passes. */
    private static final double HESSIAN_SHARE = 0.25;
    /** Block inputs that the gradient pass keeps: enough sequences at once to make the loading of blocks negligible. */
    private static final long GROUP_BYTES = 256L << 20;

    /** @param texts calibration and evaluation text, if any */
    static MemoryNeeds of(MemoryJob job, RunTexts texts, MemoryNeed.Free free) {
        ModelSpec model = job.model();
        long weights = job.wholeBlocks()
                ? ModelMemory.blockBytes(model, job.matmulDtype())
                : ModelMemory.streamedBytes(model, job.matmulDtype());
        long evaluation = evaluation(job, texts.evaluation());
        TokenSequences calibration = texts.calibration();
        if (calibration == null) {
            return new MemoryNeeds(weights, 0, ExpertPasses.ALL, job.largestCopies(), job.unshared(), 0,
                    Saliency.Memory.NONE, evaluation,
                    job.packedBlock(), 0, 0);
        }
        long limit = (long) (STREAM_SHARE * Math.min(free.host(), 1L << 50));
        Refinement refinement = job.refinement();
        long learning = refinement == null ? 0 : RefineMemory.inputBytes(model, refinement, calibration, limit);
        long widest = model.widestInput();
        ExpertPasses experts = experts(job, calibration,
                (long) (HESSIAN_SHARE * Math.min(free.device().orElse(free.host()), 1L << 50)), limit);
        Saliency.Memory gradients = job.weighs()
                ? Saliency.memory(model, calibration, gradientLimits(free, limit, experts))
                : Saliency.Memory.NONE;
        return new MemoryNeeds(weights, hessians(model, experts, 1), experts,
                2 * 4 * widest * widest + job.largestCopies(), job.unshared(),
                4L * model.hiddenSize() * calibration.length() * job.sequences(calibration.count()), gradients,
                evaluation, job.packedBlock(), learning, limit);
    }

    private static ExpertPasses experts(MemoryJob job, TokenSequences calibration, long room, long limit) {
        ModelSpec model = job.model();
        Refinement refinement = job.refinement();
        if (job.wholeBlocks() || (refinement != null && refinement.tuneSteps() > 0)) {
            return ExpertPasses.ALL;
        }
        long inputs = MixtureInputs.bytes(calibration.tokens(), model.hiddenSize());
        if (refinement == null) {
            return ExpertPasses.of(model, job.expertsAtOnce(), atOnce -> SitePasses.bytes(model, atOnce, 1), room,
                    model.most(ParkedHessians::bytes) + inputs, limit);
        }
        RefinedExperts refined = new RefinedExperts(model, refinement, job.grids());
        return ExpertPasses.of(model, job.expertsAtOnce(), refined::bytes, room, refined.parkedBytes() + inputs,
                limit);
    }

    /** Device memory of the Hessians of plain GPTQ's passes. */
    static long hessians(ModelSpec model, ExpertPasses experts, int parts) {
        return SitePasses.bytes(model, experts.atOnce(), parts);
    }

    private static long evaluation(MemoryJob job, @Nullable TokenSequences text) {
        return text == null
                ? 0
                : ModelComparison.peakBytes(job.model(), job.model(), text.count(), text.length())
                        + job.largestPacked();
    }

    /**
     * All of a device's own memory; of host memory no more than activations may take. Where experts come in several passes the
     * model does not stay on the device either.
     */
    static Saliency.Limits gradientLimits(MemoryNeed.Free free, long limit, ExpertPasses experts) {
        long resident = free.device().isPresent() ? free.device().getAsLong() - MemoryNeed.LIBRARIES : limit;
        return new Saliency.Limits(Math.min(GROUP_BYTES, limit), limit, experts.parked() > 0 ? 0 : resident);
    }

    /** Where the residual stream is kept if not on a device. */
    Placement.Place offDevice() {
        return stream > hostLimit ? Placement.Place.FILE : Placement.Place.HOST;
    }
}
