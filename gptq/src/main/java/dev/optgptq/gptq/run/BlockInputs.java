package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.calibrate.capture.HessianAccumulator;
import dev.optgptq.calibrate.capture.MixtureInputs;
import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.capture.Shard;
import dev.optgptq.calibrate.capture.ShardPass;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.refine.Phases;
import dev.optgptq.gptq.refine.SharedPhases;
import dev.optgptq.gptq.run.progress.RunPhases;
import dev.optgptq.gptq.run.progress.RunProgress;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.Together;
import java.util.ArrayList;
import java.util.List;
import java.util.SequencedSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The calibration stream at a decoder block, on all devices of this process: captures the inputs of its linears, and passes
 * through it.
 *
 * @param trueSequential whether each site's inputs come from linears that are already quantized
 * @param experts how many have Hessians at once
 */
record BlockInputs(Replicas models, ModuleGrids grids, boolean trueSequential, ExpertPasses experts,
        RunProgress progress) {

    /**
     * Sites whose inputs are captured together: all in one pass, experts in several where their Hessians need it, or one pass
     * for each with everything before it already quantized. No site whose linears are all skipped.
     */
    List<Set<InputSite>> passes(BlockSpec block) {
        Set<InputSite> sites = grids.sites(block);
        if (!trueSequential) {
            return experts.passes(block, sites);
        }
        List<Set<InputSite>> passes = new ArrayList<>();
        sites.forEach(site -> passes.add(Set.of(site)));
        return passes;
    }

    /**
     * The Hessians of the wanted sites over this rank's tokens, on the first device. The caller closes them.
     *
     * @param kept a mixture's inputs, for passes that start from there; null without such
     */
    HessianAccumulator capture(Replicas.Block weights, CalibrationStream stream, Set<InputSite> wanted,
            @Nullable MixtureInputs kept) {
        progress.enter("forward");
        List<HessianAccumulator> hessians = new ArrayList<>();
        try {
            for (Device each : models.devices()) {
                hessians.add(new HessianAccumulator(each, weights.first().spec(), wanted, stream.rows()));
            }
            SharedPhases shared = shared(stream);
            models.together(index -> capture(index, weights.on(index), stream, wanted, hessians.get(index), kept,
                    shared.of(index)));
            shared.finish();
            if (kept != null) {
                kept.completed();
            }
            progress.enter("hessian");
            Together.inPairs(hessians.size(), (index, next) -> hessians.get(index).absorb(hessians.get(next)));
            while (hessians.size() > 1) {
                hessians.removeLast().close();
            }
            return hessians.getFirst();
        } catch (RuntimeException e) {
            hessians.forEach(HessianAccumulator::close);
            throw e;
        }
    }

    private void capture(int index, BlockWeights weights, CalibrationStream stream, Set<InputSite> wanted,
            HessianAccumulator hessians, @Nullable MixtureInputs kept, Phases phases) {
        // The last block's output is wanted too, once: no other block reads it.
        SequencedSet<InputSite> all = grids.sites(weights.spec());
        boolean last = weights.index() + 1 == models.first().spec().blocks()
                && (trueSequential || wanted.contains(all.getLast()));
        InputTap tap = new CaptureTap(hessians, wanted, last, phases);
        Partition partition = stream.partition();
        boolean ofMixture = kept != null && kept.complete() && !last && wanted.stream().allMatch(InputSite::ofExpert);
        Device device = models.on(index).device();
        try (ShardPass pass = new ShardPass(models.on(index), partition, stream.sequenceLength())) {
            for (Shard part : partition.summed(index)) {
                hessians.begin(part);
                partition.eachBatch(part, (first, count) -> {
                    if (kept != null && ofMixture) {
                        pass.mixture(weights, kept, first, count, tap);
                        return;
                    }
                    Tensor x = pass.read(stream.activations(), first, count);
                    hessians.residual(x);
                    pass.forward(weights, x, kept == null ? tap : kept.keeping(tap, device, first));
                    if (last) {
                        hessians.residual(x);
                    }
                    if (trueSequential) {
                        phases.captured(wanted, count);
                    } else if (wanted.contains(all.getLast())) {
                        // The last pass counts for all.
                        phases.captured(all, count);
                    }
                });
            }
            device.synchronize();
        }
    }

    /** Advances the stream through the block as it is now, unless it is the last. */
    void advance(Replicas.Block weights, CalibrationStream stream) {
        if (weights.first().index() + 1 < models.first().spec().blocks()) {
            advance(weights, stream, "forward");
        }
    }

    /**
     * Advances the stream through the block as it is now, on every device.
     *
     * @param phase of the progress
     */
    void advance(Replicas.Block weights, CalibrationStream stream, String phase) {
        progress.enter(phase);
        SharedPhases shared = shared(stream);
        models.together(index -> {
            try (ShardPass pass = new ShardPass(models.on(index), stream.partition(), stream.sequenceLength())) {
                pass.advance(weights.on(index), stream.partition().all(index), stream.activations()::update,
                        shared.of(index)::forward);
            }
        });
        shared.finish();
    }

    private SharedPhases shared(CalibrationStream stream) {
        return new SharedPhases(new RunPhases(progress, stream.sequenceLength()), models.size());
    }
}
