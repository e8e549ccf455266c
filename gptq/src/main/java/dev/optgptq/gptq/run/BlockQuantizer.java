package dev.optgptq.gptq.run;

import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.capture.Activity;
import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.calibrate.capture.HessianAccumulator;
import dev.optgptq.calibrate.capture.MixtureInputs;
import dev.optgptq.calibrate.capture.ParkedHessians;
import dev.optgptq.calibrate.capture.Peak;
import dev.optgptq.calibrate.capture.SiteHessians;
import dev.optgptq.calibrate.capture.SitePasses;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.gptq.refine.SiteOwners;
import dev.optgptq.gptq.refine.SolvedExchange;
import dev.optgptq.gptq.refine.SolvedLinear;
import dev.optgptq.gptq.run.checkpoint.BlockRecorder;
import dev.optgptq.gptq.run.progress.RunProgress;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ranks.Ranks;
import java.util.List;
import java.util.Set;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/**
 * Quantizes a decoder block: captures the inputs of its linears from the calibration stream, solves them, and advances
 * the stream through the quantized block.
 */
final class BlockQuantizer {

    private final Replicas models;
    private final Transformer model;
    private final Device device;
    private final ModuleGrids grids;
    private final boolean trueSequential;
    private final ExpertPasses experts;
    private final RunProgress progress;
    private final SiteSolving solving;
    private final BlockInputs inputs;
    private final Ranks ranks;
    private final SolvedExchange exchange;

    /** @param experts how many have Hessians at once */
    BlockQuantizer(Replicas models, Calibrator calibrator, ModuleGrids grids, boolean trueSequential,
            ExpertPasses experts,
            RunProgress progress) {
        this.models = models;
        this.model = models.first();
        this.device = model.device();
        this.grids = grids;
        this.trueSequential = trueSequential;
        this.experts = experts;
        this.progress = progress;
        this.solving = new SiteSolving(calibrator, grids);
        this.inputs = new BlockInputs(models, grids, trueSequential, experts, progress);
        this.ranks = models.crew().ranks();
        this.exchange = new SolvedExchange(ranks, device, grids);
    }

    /** The calibration at its blocks. */
    BlockInputs inputs() {
        return inputs;
    }

    /**
     * Quantizes a block and records its linears.
     *
     * @param stream the residual stream before the block, replaced by the one after it unless the block streams its experts;
     *     null when the calibrator needs no data
     * @param recorder null on other ranks than the first
     */
    void quantize(int block, @Nullable CalibrationStream stream, @Nullable BlockRecorder recorder) {
        try (Replicas.Block weights = load(block)) {
            List<Set<InputSite>> passes = inputs.passes(model.spec().block(block));
            if (recorder != null && stream != null && streams(block) && passes.size() > 1) {
                inPasses(weights, passes, stream, recorder);
            } else {
                inOnePass(weights, passes, stream, recorder);
            }
            if (stream != null && !streams(block)) {
                inputs.advance(weights, stream);
            }
        }
    }

    /** All experts' Hessians at once, or one site after the other. */
    private void inOnePass(Replicas.Block weights, List<Set<InputSite>> passes, @Nullable CalibrationStream stream,
            @Nullable BlockRecorder recorder) {
        SiteOwners owners = new SiteOwners(weights.first().spec(), ranks.size());
        for (Set<InputSite> sites : passes) {
            try (HessianAccumulator hessians = stream == null ? null : inputs.capture(weights, stream, sites, null)) {
                boolean alone = !ranks.areSeveral()
                        && (models.size() == 1 || streams(weights.first().index()));
                if (alone && recorder != null) {
                    sites.forEach(site -> quantize(weights.first(), site, hessians, recorder));
                } else {
                    spread(weights, sites, owners, hessians, recorder);
                }
            }
        }
    }

    /** Some experts' Hessians at a time; no expert is solved before all have been seen. */
    private void inPasses(Replicas.Block weights, List<Set<InputSite>> passes, CalibrationStream stream,
            BlockRecorder recorder) {
        try (ParkedHessians parked = new ParkedHessians(device, weights.first().spec(), stream.rows(),
                experts.bufferLimit());
                MixtureInputs kept = MixtureInputs.of(passes, stream.rows(), model.spec().hiddenSize(),
                        experts.bufferLimit())) {
            for (Set<InputSite> sites : passes) {
                try (HessianAccumulator hessians = inputs.capture(weights, stream, sites, kept)) {
                    parked.add(hessians);
                    sites.stream().filter(site -> !site.ofExpert())
                            .forEach(site -> quantize(weights.first(), site, hessians, recorder));
                }
            }
            passes.forEach(sites -> sites.stream().filter(InputSite::ofExpert)
                    .forEach(site -> quantize(weights.first(), site, parked, recorder)));
        }
    }

    /** Whether experts of a block are streamed: their quantized weights are then not kept. */
    boolean streams(int block) {
        return !trueSequential && !ranks.areSeveral() && SitePasses.experts(model.spec().block(block)) > 0;
    }

    private void quantize(BlockWeights weights, InputSite site, @Nullable SiteHessians hessians,
            BlockRecorder recorder) {
        Activity activity = hessians == null ? null : activity(weights, site, hessians);
        try (SiteSolver solver = solver(weights, site, hessians)) {
            for (LinearSpec linear : grids.quantized(weights.linears(site))) {
                try (TensorArena arena = device.arena()) {
                    SolvedLinear solved = solve(weights, linear, solver, activity, arena);
                    progress.enter("write");
                    recorder.write(solved);
                }
            }
        }
        if (hessians != null) {
            hessians.release(site);
        }
    }

    /**
     * Each rank solves its sites, on all its devices; then all ranks receive all, in the order in which one device would have
     * solved them.
     */
    private void spread(Replicas.Block weights, Set<InputSite> sites, SiteOwners owners,
            @Nullable HessianAccumulator hessians, @Nullable BlockRecorder recorder) {
        if (hessians != null && ranks.areSeveral()) {
            progress.enter("share");
            hessians.gather(ranks, owners::of);
        }
        progress.enter("solve");
        List<InputSite> mine = sites.stream().filter(site -> owners.of(site) == ranks.rank()).toList();
        try (SpreadSites spread = new SpreadSites(models, weights.first(), mine, solving)) {
            for (InputSite site : mine) {
                Activity activity = hessians == null ? null : activity(weights.first(), site, hessians);
                spread.add(site, hessians, activity);
            }
            spread.solve(weights, progress);
            progress.enter(ranks.areSeveral() ? "share" : "write");
            for (InputSite site : sites) {
                for (LinearSpec linear : grids.quantized(weights.first().linears(site))) {
                    if (ranks.areSeveral()) {
                        share(owners.of(site), weights, linear, spread, recorder);
                    } else if (recorder != null) {
                        recorder.write(spread.of(linear), spread.owner(linear));
                    }
                }
            }
            if (hessians != null) {
                spread.give(weights);
            }
        }
    }

    /** What another rank has solved comes to the first device, and its weight to all. */
    private void share(int owner, Replicas.Block weights, LinearSpec linear, SpreadSites spread,
            @Nullable BlockRecorder recorder) {
        try (TensorArena arena = device.arena()) {
            SolvedLinear own = owner == ranks.rank()
                    ? spread.of(linear).on(spread.owner(linear), device, arena)
                    : null;
            SolvedLinear solved = exchange.share(owner, linear, own, arena);
            if (recorder != null) {
                recorder.write(solved);
            }
            if (own == null) {
                device.synchronize();
                models.together(each -> weights.overwrite(each, linear,
                        (here, weight) -> solved.solution().weight().dequantize(device, here, weight)));
            }
        }
    }

    /**
     * The largest input magnitude of the site. Throws UserError NUMERIC where the residual stream overflows in the
     * norms.
     */
    private Activity activity(BlockWeights weights, InputSite site, SiteHessians hessians) {
        Activity activity = hessians.activity(site);
        Peak.requireInNorms(activity.residual(), model.spec().hiddenSize(),
                "block " + weights.index() + ", residual stream");
        return activity;
    }

    /**
     * Loads a block's weights, which {@link #solve} overwrites with the quantized ones; one after the other they are inputs of the
     * next, experts' too.
     */
    Replicas.Block load(int block) {
        progress.enter("load", "block " + (block + 1) + "/" + model.spec().blocks());
        return trueSequential ? models.loadWholeBlock(block) : models.loadBlock(block);
    }

    /**
     * Advances the stream through a block that is already quantized.
     *
     * @param restored gives the block its quantized weights, and then runs what it is given
     */
    void replay(int block, CalibrationStream stream, BiConsumer<BlockWeights, Runnable> restored) {
        advance(block, stream, restored, "resume");
    }

    /** The same for a block that this run has just recorded. */
    void advance(int block, CalibrationStream stream, BiConsumer<BlockWeights, Runnable> restored) {
        advance(block, stream, restored, "forward");
    }

    private void advance(int block, CalibrationStream stream, BiConsumer<BlockWeights, Runnable> restored,
            String phase) {
        progress.enter(phase, "block " + (block + 1) + "/" + model.spec().blocks());
        try (Replicas.Block weights = models.loadBlock(block)) {
            restored.accept(weights.first(), () -> {
                weights.share();
                inputs.advance(weights, stream, phase);
            });
        }
    }

    /** See {@link SiteSolving#solver}. */
    SiteSolver solver(BlockWeights weights, InputSite site, @Nullable SiteHessians hessians) {
        progress.enter("solve");
        return solving.solver(model, weights, site, hessians == null ? null : hessians.hessian(site));
    }

    /** See {@link SiteSolving#solve}. */
    SolvedLinear solve(BlockWeights weights, LinearSpec linear, SiteSolver solver, @Nullable Activity activity,
            TensorArena arena) {
        progress.enter("solve");
        SolvedLinear solved = solving.solve(model, weights, linear, solver, activity, arena);
        progress.did(solving.operations(linear, progress.flops()));
        return solved;
    }
}
