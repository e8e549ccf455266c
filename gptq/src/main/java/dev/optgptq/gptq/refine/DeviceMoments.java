package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.Activity;
import dev.optgptq.calibrate.capture.CrossMoments;
import dev.optgptq.calibrate.capture.HessianAccumulator;
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

/** One device's share of a block's moments. */
final class DeviceMoments implements AutoCloseable {

    private final Transformer model;
    private final Device device;
    private final Streams streams;
    private final TensorArena arena;
    private final Set<InputSite> sites;
    private final Set<InputSite> crossed;
    private final HessianAccumulator plain;
    private final @Nullable HessianAccumulator weighted;
    private final @Nullable CrossMoments cross;

    DeviceMoments(Transformer model, int block, Streams streams, @Nullable Saliency saliency, boolean withCross) {
        this.model = model;
        this.device = model.device();
        this.streams = streams;
        this.arena = device.arena();
        BlockSpec spec = model.spec().block(block);
        this.sites = spec.sites();
        Map<InputSite, Tensor> factors = factors(block, saliency);
        long rows = streams.trainedRows();
        this.plain = new HessianAccumulator(device, spec, sites, rows);
        this.weighted = factors.isEmpty() ? null : new HessianAccumulator(device, spec, sites, rows);
        if (weighted != null) {
            factors.forEach(weighted::weigh);
        }
        // The experts of the two models have other tokens.
        this.crossed = sites.stream().filter(site -> !site.ofExpert()).collect(Collectors.toSet());
        this.cross = withCross ? new CrossMoments(device, spec, crossed, streams.batchRows(), rows) : null;
    }

    private Map<InputSite, Tensor> factors(int block, @Nullable Saliency saliency) {
        Map<InputSite, Tensor> factors = new HashMap<>();
        if (saliency == null) {
            return factors;
        }
        Map<InputSite, Optional<Tensor>> known = new HashMap<>();
        for (InputSite site : sites) {
            known.computeIfAbsent(site.ofAnyExpert(),
                    any -> Optional.ofNullable(saliency.rowFactors(block, any, device, arena)))
                    .ifPresent(found -> factors.put(site, found.columns(0, streams.trainedRows())));
        }
        return factors;
    }

    /**
     * Passes sequences through the block: the training sequences in both streams, the held-out ones in the original
     * stream.
     */
    void capture(BlockWeights weights, List<Shard> summed, List<Shard> heldOut, Phases phases) {
        Partition partition = streams.partition();
        try (ShardPass pass = new ShardPass(model, partition, streams.sequenceLength())) {
            for (Shard part : summed) {
                begin(part);
                partition.eachBatch(part, (first, count) -> {
                    if (first >= streams.originalFrom()) {
                        phases.enter("forward original");
                        original(weights, first, count, pass, this::keepOriginal, phases);
                    }
                    phases.enter("forward");
                    Tensor x = pass.read(streams.quantized(), first, count);
                    plain.residual(x);
                    if (weighted != null) {
                        weighted.batch(first);
                    }
                    pass.forward(weights, x, (site, rows, tokens) -> add(site, rows, tokens, phases));
                    phases.captured(sites, count);
                });
            }
            phases.enter("validate");
            partition.eachBatch(heldOut,
                    (first, count) -> original(weights, first, count, pass, InputTap.NONE, phases));
            device.synchronize();
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

    private void original(BlockWeights weights, long first, long count, ShardPass pass, InputTap tap,
            Phases phases) {
        streams.updateOriginal(device, first, pass.rows(count), rows -> {
            pass.forward(weights, rows, tap);
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

    /** The pass ends after the last site: the block's output is not needed. */
    private boolean add(InputSite site, Tensor x, @Nullable Tensor tokens, Phases phases) {
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
