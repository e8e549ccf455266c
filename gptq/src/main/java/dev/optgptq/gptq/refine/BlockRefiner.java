package dev.optgptq.gptq.refine;

import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.capture.Peak;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.calibrate.capture.ShardPass;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.gptq.refine.Variants.Variant;
import dev.optgptq.gptq.solve.Polish;
import dev.optgptq.gptq.solve.SolveSettings;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.TensorArena;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/**
 * Gradient calibration of one block after the other (docs/algorithms.md, section 9). A block is solved as published,
 * and then refined step by step; a step is kept only if the block's output on held-out sequences gets closer to the
 * original's. So no block is worse there than plain GPTQ's.
 */
public final class BlockRefiner {

    private final Replicas models;
    private final Transformer model;
    private final Device device;
    private final SolveSettings settings;
    private final ModuleGrids grids;
    private final Refinement refinement;
    private final Streams streams;
    private final @Nullable Saliency saliency;
    private final ExpertPasses experts;
    private final Phases phases;

    /**
     * @param settings of all linears but for their grids
     * @param streams both at the first block's input
     * @param saliency token weights; null if all are equal
     * @param experts how many have their Hessians in memory at once
     */
    public BlockRefiner(Replicas models, SolveSettings settings, ModuleGrids grids, Refinement refinement,
            Streams streams, @Nullable Saliency saliency, ExpertPasses experts, Phases phases) {
        this.models = models;
        this.model = models.first();
        this.device = model.device();
        this.settings = settings;
        this.grids = grids;
        this.refinement = refinement;
        this.streams = streams;
        this.saliency = saliency;
        this.experts = experts;
        this.phases = phases;
    }

    /**
     * Refines the next block, and advances both streams through it; through the last one only the held-out sequences.
     *
     * @return its linears, whose codes stay on the device until the caller closes it
     */
    public RefinedBlock refine(int block) {
        Contest contest = solve(block);
        try {
            if (refinement.tuneSteps() > 0) {
                learn(block, contest);
            }
            phases.enter("forward");
            boolean last = block + 1 == model.spec().blocks();
            try (Replicas.Block weights = models.spread(contest.best().weights())) {
                passQuantized(weights, last ? streams.trainedRows() : 0);
            }
            return new RefinedBlock(contest);
        } catch (RuntimeException e) {
            contest.close();
            throw e;
        }
    }

    /**
     * Advances both streams through a block that is already refined.
     *
     * @param restored gives the block its quantized weights, and then runs what it is given
     */
    public void replay(int block, BiConsumer<BlockWeights, Runnable> restored) {
        phases.enter("resume");
        try (Replicas.Block weights = models.loadBlock(block)) {
            pass(weights, streams.originalFrom(), streams::updateOriginal);
            restored.accept(weights.first(), () -> {
                weights.share();
                passQuantized(weights, 0);
            });
        }
    }

    private Contest solve(int block) {
        try (BlockMoments moments = capture(block);
                VariantSolver solver = new VariantSolver(models, block, settings, grids, moments,
                        refinement.tuneSteps() > 0, phases)) {
            Contest contest = new Contest(block, new BlockJudge(models, block, streams, saliency, phases));
            try {
                contest.first(solver.solve(Variants.PLAIN));
                passPlain(contest.best().weights());
                Variant best = Variants.PLAIN;
                for (Variant variant : Variants.beyond(refinement, model.spec().block(block), moments.weighs())) {
                    best = better(contest, solver, best, variant);
                }
                for (Polish step : refinement.polish().steps()) {
                    better(contest, solver, best, best.polished(step));
                }
                return contest;
            } catch (RuntimeException e) {
                contest.close();
                throw e;
            }
        }
    }

    /** The one of the two that is kept. */
    private static Variant better(Contest contest, VariantSolver solver, Variant best, Variant variant) {
        long started = System.nanoTime();
        boolean kept = contest.challenge(variant.step(), solver.solve(variant), variant.margin(), started,
                variant.note());
        return kept ? variant : best;
    }

    private BlockMoments capture(int block) {
        phases.enter("load");
        try (Replicas.Block weights = models.loadBlock(block)) {
            BlockMoments moments = new BlockMoments(models, block, streams, saliency, refinement.propagate(), experts,
                    phases);
            try {
                moments.capture(weights);
                Peak.requireInNorms(moments.largestResidual(), model.spec().hiddenSize(),
                        "block " + block + ", residual stream");
                return moments;
            } catch (RuntimeException e) {
                moments.close();
                throw e;
            }
        }
    }

    private void learn(int block, Contest contest) {
        long started = System.nanoTime();
        BlockTuner tuner = new BlockTuner(model, streams, linear -> grids.settings(settings, linear).grid(),
                Schedule.of(refinement.tuneSteps(), streams.trained(), refinement.seed() + block), phases);
        TensorArena arena = device.arena();
        Candidate learned;
        try {
            BlockWeights weights = model.loadBlock(block, arena);
            learned = new Candidate(weights, tuner.tune(contest.best(), weights, arena), arena);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
        contest.challenge("learned rounding", learned, 0, started, refinement.tuneSteps() + " steps");
    }

    private void passQuantized(Replicas.Block weights, long from) {
        pass(weights, from, streams.quantized()::update);
    }

    /** The stream of plain GPTQ. */
    private void passPlain(BlockWeights weights) {
        ActivationStore plain = streams.plain();
        if (plain != null) {
            phases.enter("validate");
            long before = streams.trainedRows();
            try (ShardPass pass = pass(0)) {
                pass.advance(weights, streams.partition().heldOut(),
                        (on, first, buffer, op) -> plain.update(on, first - before, buffer, op), phases::forward);
            }
        }
    }

    private void pass(Replicas.Block weights, long from, ShardPass.Stream stream) {
        SharedPhases shared = new SharedPhases(phases, models.size());
        models.together(index -> {
            try (ShardPass pass = pass(index)) {
                pass.advance(weights.on(index), streams.parts(index, from), stream, shared.of(index)::forward);
            }
        });
        shared.finish();
    }

    private ShardPass pass(int index) {
        return new ShardPass(models.on(index), streams.partition(), streams.sequenceLength());
    }
}
