package dev.optgptq.gptq.run.memory;

import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.capture.CrossMoments;
import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.calibrate.capture.HessianAccumulator;
import dev.optgptq.calibrate.capture.ParkedHessians;
import dev.optgptq.calibrate.capture.SitePasses;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.model.Backward;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.refine.LatentLinear;
import dev.optgptq.gptq.refine.ParkedLinears;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.gptq.tune.HeldOutLosses;
import dev.optgptq.gptq.tune.StudentLinear;
import dev.optgptq.gptq.tune.LearnedTensor;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Device memory of a refinement, in bytes, without the streams.
 *
 * @param solving capturing a block's moments, and solving it in all variants
 * @param predicting comparing the predictions of whole models
 * @param tuning learning its rounding; 0 without
 * @param model learning the scales of the whole model, and its norms; 0 without
 */
public record RefineMemory(long solving, long predicting, long tuning, long model) {

    /**
     * Counts it.
     *
     * @param experts how many have their Hessians in memory at once
     * @param batchRows tokens that run at once
     * @param parts into which the calibration is cut
     */
    static RefineMemory of(MemoryJob job, Refinement refinement, ExpertPasses experts, TokenSequences calibration,
            int batchRows, int parts) {
        ModelSpec spec = job.model();
        int groupSize = job.inputsPerScale();
        long workspace = ModelMemory.workspaceBytes(spec, DType.F32, batchRows, calibration.length());
        long stream = (long) Float.BYTES * batchRows * spec.hiddenSize();
        boolean learns = refinement.tuneSteps() > 0;
        long block = learns || job.wholeBlocks()
                ? ModelMemory.blockBytes(spec, DType.F32)
                : ModelMemory.streamedBytes(spec, DType.F32);
        long candidate = block + spec.most(each -> each.linears().stream()
                .filter(linear -> !experts.areSeveral(each) || !linear.site().ofExpert())
                .mapToLong(linear -> codes(linear, groupSize, learns)).sum());
        Moments moments = new Moments(refinement, experts, calibration, batchRows);
        long held = spec.most(moments::held);
        long capturing = block + workspace + stream + spec.most(each -> moments.captured(each, parts));
        long judging = 2 * candidate + workspace + 3 * stream + lent(job, experts);
        long factors = spec.most(moments::factors);
        long solving = Math.max(capturing, held + factors
                + Math.max(judging, solving(spec, groupSize) + 2 * candidate));
        long predicting = HeldOutLosses.bytes(spec, batchRows);
        if (!learns) {
            return new RefineMemory(solving, predicting, 0, 0);
        }
        long latents = spec.most(each -> each.linears().stream()
                .mapToLong(linear -> LatentLinear.bytes(linear, groups(linear, groupSize))).sum());
        long largest = spec.most(each -> each.linears().stream().mapToLong(RefineMemory::bytes).max().orElse(0));
        long tuning = 2 * candidate + block + latents + 3 * stream
                + Math.max(Backward.workspaceBytes(spec, batchRows, calibration.length()), 2 * largest);
        return new RefineMemory(solving, predicting, tuning + 2 * largest,
                model(spec, refinement, groupSize, calibration, largest));
    }

    /** What a block's Hessians take, their weighted ones, cross moments and factors. */
    private record Moments(Refinement refinement, ExpertPasses experts, TokenSequences calibration, int batchRows) {

        /** While they are summed: of the pass that takes most. */
        long captured(BlockSpec block, int parts) {
            return beside(block) + experts.passes(block, block.sites()).stream()
                    .mapToLong(sites -> bytes(block, sites, parts)).max().orElse(0);
        }

        /** While the block is solved. */
        long held(BlockSpec block) {
            return beside(block) + bytes(block, resident(block), 1);
        }

        /** The factors that are kept for the next variant, one of a parked Hessian, and the damped copy of the largest. */
        long factors(BlockSpec block) {
            return RefinedExperts.squares(block, resident(block))
                    + RefinedExperts.largestSquare(block, block.sites())
                    + (experts.areSeveral(block)
                            ? RefinedExperts.largestSquare(block, RefinedExperts.sites(block, true))
                            : 0);
        }

        private Set<InputSite> resident(BlockSpec block) {
            return experts.areSeveral(block) ? RefinedExperts.sites(block, false) : block.sites();
        }

        private long beside(BlockSpec block) {
            int kinds = RefinedExperts.kinds(refinement);
            return experts.areSeveral(block)
                    ? ParkedHessians.deviceBytes(block, kinds)
                    : SitePasses.meanBytes(block, kinds);
        }

        private long bytes(BlockSpec block, Set<InputSite> sites, int parts) {
            long squares = HessianAccumulator.bytes(block, sites, parts);
            int widest = sites.stream().mapToInt(block::inputs).max().orElse(0);
            long weighing = refinement.weighTokens()
                    ? squares + Float.BYTES * ((long) batchRows * widest + sites.size() * calibration.tokens())
                    : 0;
            Set<InputSite> crossed = sites.stream().filter(site -> !site.ofExpert()).collect(Collectors.toSet());
            return squares + weighing
                    + (refinement.propagate() ? CrossMoments.bytes(block, crossed, batchRows, parts) : 0);
        }
    }

    /** A streamed weight while it is computed from its integers: transposed, and the integers where they are parked. */
    private static long lent(MemoryJob job, ExpertPasses experts) {
        return job.model().most(block -> (experts.areSeveral(block) ? ParkedLinears.largest(block, job.grids()) : 0)
                + block.linears().stream().filter(linear -> linear.site().ofExpert()).mapToLong(RefineMemory::bytes)
                        .max().orElse(0));
    }

    /** The largest linear while it is solved: its copies, or those of the shift that propagates errors. */
    private static long solving(ModelSpec spec, int groupSize) {
        return spec.most(block -> block.linears().stream().mapToLong(
                linear -> SiteSolver.peakBytes(linear.inputs(), linear.outputs(), groups(linear, groupSize)))
                .max().orElse(0));
    }

    /** Batch limits for tuning the whole model: how much is computed at once, and how much the host may hold. */
    public static GradientStream.Limits limits(long memoryBytes) {
        return GradientStream.Limits.DEFAULT.withMemory(memoryBytes);
    }

    /**
     * Host memory of tuning the whole model: the larger of the training and the held-out inputs.
     *
     * @param memoryBytes above which that goes to a temporary file
     */
    public static long inputBytes(ModelSpec spec, Refinement refinement, TokenSequences calibration,
            long memoryBytes) {
        if (refinement.tuneSteps() == 0) {
            return 0;
        }
        TokenSequences judged = calibration.select(Refinement.heldOutOf(calibration.count()));
        long bytes = Math.max(GradientStream.inputBytes(spec, batch(calibration), limits(memoryBytes)),
                GradientStream.inputBytes(spec, judged, limits(memoryBytes)));
        return bytes > memoryBytes ? 0 : bytes;
    }

    private static TokenSequences batch(TokenSequences calibration) {
        return calibration.select(new int[Math.min(Schedule.BATCH,
                calibration.count() - Refinement.heldOut(calibration.count()))]);
    }

    private static long model(ModelSpec spec, Refinement refinement, int groupSize, TokenSequences calibration,
            long largest) {
        TokenSequences batch = batch(calibration);
        long scales = spec.blockSpecs().stream().flatMap(block -> block.linears().stream())
                .mapToLong(linear -> StudentLinear.bytes(linear.inputs(), linear.outputs(), groups(linear, groupSize)))
                .sum();
        long norms = refinement.tuneNorms() ? norms(spec) : 0;
        GradientStream.Limits limits = limits(Long.MAX_VALUE);
        long teacher = limits.logitsBytes() + 2L * Float.BYTES * batch.tokens() * spec.hiddenSize();
        return scales + norms + teacher + ModelMemory.blockBytes(spec, DType.F32) + 4 * largest
                + GradientStream.deviceBytes(spec, batch, limits);
    }

    /** The norms while they are learned, with the student's copy of the final one and its gradients. */
    private static long norms(ModelSpec spec) {
        NormSpec last = spec.head().norm();
        long copies = last == null ? 0 : 2L * Float.BYTES * last.elements();
        return spec.normTensors().stream().mapToLong(norm -> LearnedTensor.bytes(norm.columns())).sum() + copies;
    }

    /** Codes, grids and g_idx, and the unrounded weights if tuning starts from them. */
    private static long codes(LinearSpec linear, int groupSize, boolean learns) {
        long weights = (long) linear.inputs() * linear.outputs();
        return weights * (learns ? 1 + Float.BYTES : 1) + 8 * groups(linear, groupSize) * linear.outputs()
                + Integer.BYTES * (long) linear.inputs();
    }

    private static long groups(LinearSpec linear, int groupSize) {
        return Math.ceilDiv(linear.inputs(), Math.min(groupSize, linear.inputs()));
    }

    private static long bytes(LinearSpec linear) {
        return (long) Float.BYTES * linear.inputs() * linear.outputs();
    }

    /** The peak. */
    public long peak() {
        return Math.max(Math.max(solving, predicting), Math.max(tuning, model));
    }
}
