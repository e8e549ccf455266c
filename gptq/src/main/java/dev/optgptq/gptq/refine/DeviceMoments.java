package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.Activity;
import dev.optgptq.calibrate.capture.CrossMoments;
import dev.optgptq.calibrate.capture.HessianAccumulator;
import dev.optgptq.calibrate.capture.MixtureInputs;
import dev.optgptq.calibrate.capture.ParkedHessians;
import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.capture.Shard;
import dev.optgptq.calibrate.capture.ShardPass;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ranks.Ranks;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** One device's share of a block's moments, of those sites that are summed in one pass. */
final class DeviceMoments implements AutoCloseable {

    private final Transformer model;
    private final Device device;
    private final Streams streams;
    private final TensorArena arena;
    private final BlockSpec block;
    private final Pass pass;
    private final Set<InputSite> crossed;
    private final HessianAccumulator plain;
    private final @Nullable HessianAccumulator weighted;
    private final @Nullable CrossMoments cross;

    /**
     * What one pass through the block sums.
     *
     * @param last whether it is the last one, in which the original stream advances
     * @param kept a mixture's inputs, for passes that start from there; null without such
     */
    record Pass(Set<InputSite> sites, boolean last, @Nullable MixtureInputs kept) {
        private boolean runs(int expert) {
            return sites.stream().anyMatch(site -> site.expert() == expert);
        }
    }

    DeviceMoments(Transformer model, BlockSpec block, Streams streams, @Nullable Saliency saliency, Pass pass,
            boolean withCross) {
        this.model = model;
        this.device = model.device();
        this.streams = streams;
        this.arena = device.arena();
        this.block = block;
        this.pass = pass;
        Set<InputSite> sites = pass.sites();
        Map<InputSite, Tensor> factors = factors(saliency);
        long rows = streams.trainedRows();
        this.plain = new HessianAccumulator(device, block, sites, rows);
        this.weighted = factors.isEmpty() ? null : new HessianAccumulator(device, block, sites, rows);
        if (weighted != null) {
            factors.forEach(weighted::weigh);
        }
        // The experts of the two models have other tokens.
        this.crossed = sites.stream().filter(site -> !site.ofExpert()).collect(Collectors.toSet());
        this.cross = withCross && !crossed.isEmpty()
                ? new CrossMoments(device, block, crossed, streams.batchRows(), rows)
                : null;
    }

    private Map<InputSite, Tensor> factors(@Nullable Saliency saliency) {
        Map<InputSite, Tensor> factors = new HashMap<>();
        if (saliency == null) {
            return factors;
        }
        Map<InputSite, Optional<Tensor>> known = new HashMap<>();
        for (InputSite site : pass.sites()) {
            known.computeIfAbsent(site.ofAnyExpert(),
                    any -> Optional.ofNullable(saliency.rowFactors(block.index(), any, device, arena)))
                    .ifPresent(found -> factors.put(site, found.columns(0, streams.trainedRows())));
        }
        return factors;
    }

    /**
     * Passes sequences through the block: the training sequences in both streams, the held-out ones in the original
     * stream; before the last pass only the training sequences in the quantized stream.
     */
    void capture(BlockWeights weights, List<Shard> summed, List<Shard> heldOut, Phases phases) {
        Partition partition = streams.partition();
        try (ShardPass batches = new ShardPass(model, partition, streams.sequenceLength())) {
            InputTap tap = new Sums(phases);
            for (Shard part : summed) {
                begin(part);
                partition.eachBatch(part, (first, count) -> {
                    if (pass.last() && first >= streams.originalFrom()) {
                        phases.enter("forward original");
                        original(weights, first, count, batches, this::keepOriginal, phases);
                    }
                    phases.enter("forward");
                    if (weighted != null) {
                        weighted.batch(first);
                    }
                    quantized(weights, first, count, batches, tap);
                    if (pass.last()) {
                        // The last pass counts for all.
                        phases.captured(block.sites(), count);
                    }
                });
            }
            end();
            if (pass.last()) {
                phases.enter("validate");
                partition.eachBatch(heldOut,
                        (first, count) -> original(weights, first, count, batches, InputTap.NONE, phases));
            }
            device.synchronize();
        }
    }

    /** After the first pass the mixture alone, until in the last one all sites are wanted again. */
    private void quantized(BlockWeights weights, long first, long count, ShardPass batches, InputTap tap) {
        MixtureInputs kept = pass.kept();
        if (kept != null && kept.complete() && !pass.last()) {
            batches.mixture(weights, kept, first, count, tap);
            return;
        }
        Tensor x = batches.read(streams.quantized(), first, count);
        plain.residual(x);
        batches.forward(weights, x, kept == null ? tap : kept.keeping(tap, device, first));
    }

    private void end() {
        plain.end();
        if (weighted != null) {
            weighted.end();
        }
        if (cross != null) {
            cross.end();
        }
    }

    private void begin(Shard part) {
        plain.begin(part);
        if (weighted != null) {
            weighted.begin(part);
        }
        if (cross != null) {
            cross.begin(part);
        }
    }

    private void original(BlockWeights weights, long first, long count, ShardPass batches, InputTap tap,
            Phases phases) {
        streams.updateOriginal(device, first, batches.rows(count), rows -> {
            batches.forward(weights, rows, tap);
            plain.residual(rows);
        });
        phases.forward(count);
    }

    private boolean keepOriginal(InputSite site, Tensor x, @Nullable Tensor tokens) {
        if (cross != null && crossed.contains(site)) {
            cross.original(site, x);
        }
        return true;
    }

    /** Adds to the sums, without the experts of other passes. */
    private final class Sums implements InputTap {

        private final Phases phases;

        private Sums(Phases phases) {
            this.phases = phases;
        }

        @Override
        public boolean at(InputSite site, Tensor x, @Nullable Tensor tokens) {
            return add(site, x, tokens, phases);
        }

        @Override
        public boolean runs(int expert) {
            return pass.runs(expert);
        }
    }

    /** The pass ends after the last site: the block's output is not needed. */
    private boolean add(InputSite site, Tensor x, @Nullable Tensor tokens, Phases phases) {
        if (!pass.sites().contains(site)) {
            return true;
        }
        phases.enter("hessian");
        boolean more = plain.at(site, x);
        phases.hessian(site, x.rows());
        if (weighted != null) {
            phases.enter("hessian weighted");
            weighted.at(site, x, tokens);
            phases.hessian(site, x.rows());
        }
        if (cross != null && crossed.contains(site)) {
            phases.enter("cross moments");
            cross.quantized(site, x);
            phases.cross(site, x.rows());
        }
        phases.enter("forward");
        return more;
    }

    /** Adds another device's sums over the following parts. */
    void absorb(DeviceMoments other) {
        plain.absorb(other.plain);
        if (weighted != null && other.weighted != null) {
            weighted.absorb(other.weighted);
        }
        if (cross != null && other.cross != null) {
            cross.absorb(other.cross);
        }
    }

    /** Brings the sums of each site over all ranks to the rank that solves it. All ranks call this. */
    void gather(Ranks ranks, SiteOwners owners) {
        plain.gather(ranks, owners::of);
        if (weighted != null) {
            weighted.gather(ranks, owners::of);
        }
        if (cross != null) {
            cross.gather(ranks, owners::of);
        }
    }

    /** Gives the sums of experts away: those with equal token weights, and those weighted by the loss's gradient if there are any. */
    void park(ParkedHessians equal, @Nullable ParkedHessians byGradient) {
        equal.add(plain);
        if (weighted != null && byGradient != null) {
            byGradient.add(weighted);
        }
        for (InputSite site : pass.sites().stream().filter(InputSite::ofExpert).toList()) {
            plain.release(site);
            if (weighted != null) {
                weighted.release(site);
            }
        }
    }

    boolean weighs() {
        return weighted != null;
    }

    Tensor hessian(InputSite site, boolean ofWeighted) {
        HessianAccumulator wanted = ofWeighted && weighted != null ? weighted : plain;
        return wanted.hessian(site);
    }

    /**
     * Largest magnitudes of a site's input and of the residual stream before the block and, where computed, after it.
     */
    Activity activity(InputSite site) {
        return plain.activity(site);
    }

    float largestResidual() {
        return plain.largestResidual();
    }

    Tensor cross(InputSite site) {
        if (cross == null) {
            throw new IllegalStateException("cross moments were not computed");
        }
        return cross.cross(site);
    }

    @Override
    public void close() {
        if (cross != null) {
            cross.close();
        }
        if (weighted != null) {
            weighted.close();
        }
        plain.close();
        arena.close();
    }
}
