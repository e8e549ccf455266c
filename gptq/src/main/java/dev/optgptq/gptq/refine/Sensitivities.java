package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.calibrate.capture.ShardPass;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.Polish;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.gptq.solve.SolveSettings;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;

/**
 * By how much the loss rises when one linear is quantized, to second order and with the Fisher information's diagonal for the loss's
 * curvature (docs/algorithms.md, section 13):
 *
 * <pre>
 *   dL = 1/2 mean_t s_t |(W - Q) x_t|^2,  s_t the squared gradient of the loss at the linear's outputs, mean over them
 * </pre>
 *
 * x are the inputs in the original model, Q is plain GPTQ's solution on the Hessian with these token weights. The blocks go one after
 * the other; nothing is written.
 */
public final class Sensitivities {

    private final Replicas models;
    private final Transformer model;
    private final Device device;
    private final boolean searchScales;
    private final Streams streams;
    private final Saliency saliency;
    private final ExpertPasses experts;
    private final Phases phases;

    /**
     * @param searchScales whether the run searches scales
     * @param streams at the first block's input; the quantized one is another of the original model
     * @param experts how many have their Hessians in memory at once
     */
    public Sensitivities(Replicas models, boolean searchScales, Streams streams, Saliency saliency,
            ExpertPasses experts, Phases phases) {
        this.models = models;
        this.model = models.first();
        this.device = model.device();
        this.searchScales = searchScales;
        this.streams = streams;
        this.saliency = saliency;
        this.experts = experts;
        this.phases = phases;
    }

    /**
     * Of the linears of the next block.
     *
     * @param candidates that differ in bits alone; none for a linear that is not asked about
     * @return nats per token for each candidate
     */
    public Map<LinearSpec, double[]> next(int block, Function<LinearSpec, List<SolveSettings>> candidates) {
        Map<LinearSpec, double[]> losses = new HashMap<>();
        phases.enter("load");
        try (Replicas.Block weights = models.loadBlock(block);
                BlockMoments moments = new BlockMoments(models, block, streams, saliency, false, experts, phases)) {
            moments.capture(weights);
            phases.enter("allocate");
            for (InputSite site : model.spec().block(block).sites()) {
                List<LinearSpec> asked = weights.first().linears(site).stream()
                        .filter(linear -> !candidates.apply(linear).isEmpty()).toList();
                if (!asked.isEmpty()) {
                    measure(weights.first(), asked, candidates.apply(asked.getFirst()), moments, losses);
                }
            }
            advance(weights);
        }
        return losses;
    }

    /** @param linears of one site */
    private void measure(BlockWeights weights, List<LinearSpec> linears, List<SolveSettings> grids,
            BlockMoments moments, Map<LinearSpec, double[]> losses) {
        InputSite site = linears.getFirst().site();
        // The Hessian is 2 / N sum s x x^T, s with mean 1.
        double scale = share(site, moments, weights) * saliency.mean(weights.index(), site) / 4;
        try (SiteSolver solver = new SiteSolver(device, new Calibrator.Gptq(grids.getFirst(), searchScales),
                moments.hessian(site, true), "block " + weights.index() + ", " + site.label())) {
            for (LinearSpec linear : linears) {
                double energy = scale * solver.energy(weights.weight(linear));
                losses.put(linear, grids.stream()
                        .mapToDouble(grid -> energy * error(solver, grid.grid(), linear, weights.weight(linear)))
                        .toArray());
            }
        }
    }

    /** Of what a token meets of a site: an expert's moments are means over its own tokens, and s adds up the experts of a token. */
    private double share(InputSite site, BlockMoments moments, BlockWeights weights) {
        return site.ofExpert() && weights.spec().feedForward() instanceof FeedForward.Experts mixture
                ? moments.activity(site).tokens() / ((double) streams.trainedRows() * mixture.router().active())
                : 1;
    }

    /** Relative to the output. */
    private double error(SiteSolver site, Grid grid, LinearSpec linear, Tensor weight) {
        try (TensorArena scratch = device.arena(); SiteSolver solver = site.on(grid)) {
            Tensor copy = scratch.matrix(DType.F32, weight.rows(), weight.columns());
            device.matrix().copy(weight, copy);
            Double error = Objects.requireNonNull(solver.solve(scratch, copy).outputError());
            phases.solved(linear, Polish.NONE);
            return error;
        }
    }

    /** With the original weights. */
    private void advance(Replicas.Block weights) {
        SharedPhases shared = new SharedPhases(phases, models.size());
        models.together(index -> {
            try (ShardPass pass = new ShardPass(models.on(index), streams.partition(), streams.sequenceLength())) {
                pass.advance(weights.on(index), streams.parts(index, 0), streams.quantized()::update,
                        shared.of(index)::forward);
            }
        });
        shared.finish();
    }
}
