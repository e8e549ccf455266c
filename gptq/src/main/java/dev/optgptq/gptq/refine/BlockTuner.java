package dev.optgptq.gptq.refine;

import java.util.function.Function;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Backward;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Learned rounding (docs/algorithms.md, section 8): the codes and scales of a block are learned together, so that its
 * output from the quantized stream approaches the original block's output from the original stream. The loss is the
 * mean squared difference. Weighting it by the loss's gradient, by token or by element, was measured and did not help:
 * docs/results/gradient.md.
 */
final class BlockTuner {

    /** Learning rates at the start: latents in steps of the scale, scales relative to themselves. */
    static final double LATENT_RATE = 0.01;
    static final double SCALE_RATE = 0.001;

    private final Transformer model;
    private final Device device;
    private final Streams streams;
    private final Function<LinearSpec, Grid> grids;
    private final Schedule schedule;
    private final Phases phases;

    BlockTuner(Transformer model, Streams streams, Function<LinearSpec, Grid> grids, Schedule schedule,
            Phases phases) {
        this.model = model;
        this.device = model.device();
        this.streams = streams;
        this.grids = grids;
        this.schedule = schedule;
        this.phases = phases;
    }

    /**
     * Learns, starting from a candidate, which is not changed.
     *
     * @param weights of the same block; its linears are overwritten, in the end with the learned weights
     * @param arena owns the result
     */
    List<SolvedLinear> tune(Candidate start, BlockWeights weights, TensorArena arena) {
        phases.enter("tune");
        try (TensorArena scratch = device.arena()) {
            Map<SolvedLinear, LatentLinear> latents = new LinkedHashMap<>();
            for (SolvedLinear linear : start.linears()) {
                latents.put(linear, new LatentLinear(device, scratch, grids.apply(linear.linear()), linear.linear(),
                        linear.solution()));
            }
            learn(weights, latents, scratch);
            List<SolvedLinear> learned = new ArrayList<>();
            latents.forEach((linear, latent) -> {
                QuantizedWeight weight = latent.finish(arena, weights.weight(linear.linear()));
                learned.add(new SolvedLinear(linear.linear(), linear.solution().with(weight),
                        linear.activity(), linear.seconds()));
            });
            device.synchronize();
            return learned;
        }
    }

    private void learn(BlockWeights weights, Map<SolvedLinear, LatentLinear> latents, TensorArena scratch) {
        int hidden = model.spec().hiddenSize();
        int length = streams.sequenceLength();
        BlockWeights gradients = model.backward().zeroGradients(weights, scratch);
        Backward.Workspace workspace = model.backward().workspace(scratch, streams.batchRows(), length);
        Tensor x = scratch.matrix(DType.F32, streams.batchRows(), hidden);
        Tensor y = scratch.matrix(DType.F32, streams.batchRows(), hidden);
        Tensor expected = scratch.matrix(DType.F32, streams.batchRows(), hidden);
        int together = streams.batchRows() / length;
        double terms = 0.5 * schedule.batch() * length * hidden;
        int[][] order = schedule.order();
        for (int step = 0; step < order.length; step++) {
            latents.forEach((linear, latent) -> latent.round(weights.weight(linear.linear())));
            for (int first = 0; first < order[step].length; first += together) {
                int count = Math.min(together, order[step].length - first);
                for (int i = 0; i < count; i++) {
                    long row = (long) order[step][first + i] * length;
                    streams.quantized().read(device, row, x.rows((long) i * length, length));
                    streams.readOriginal(device, row, expected.rows((long) i * length, length));
                }
                long rows = (long) count * length;
                model.backward().forwardBackward(weights, x.rows(0, rows), y.rows(0, rows), workspace,
                        out -> device.matrix().subtract(out, expected.rows(0, rows), out), gradients);
                phases.learned(rows);
            }
            for (Map.Entry<SolvedLinear, LatentLinear> each : latents.entrySet()) {
                LinearSpec linear = each.getKey().linear();
                each.getValue().step(gradients.weight(linear), schedule.adam(step, LATENT_RATE, terms),
                        schedule.adam(step, SCALE_RATE, terms));
                device.matrix().fill(gradients.weight(linear), 0);
            }
        }
    }
}
