package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.CrossMoments;
import dev.optgptq.calibrate.capture.HessianAccumulator;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.BlockWeights;
import dev.optgptq.calibrate.model.InputSite;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a block's solves need to know of its inputs, from the sequences that may be learned from: the Hessian of every site,
 * another that weighs tokens by the loss's gradient, and how quantized inputs go with original ones.
 */
final class BlockMoments implements AutoCloseable {

    private final Transformer model;
    private final Device device;
    private final Streams streams;
    private final Phases phases;
    private final TensorArena arena;
    private final EnumSet<InputSite> sites = EnumSet.noneOf(InputSite.class);
    private final HessianAccumulator plain;
    private final @Nullable HessianAccumulator weighted;
    private final @Nullable CrossMoments cross;

    BlockMoments(Transformer model, BlockWeights weights, Streams streams, @Nullable Saliency saliency,
            boolean withCross, Phases phases) {
        this.model = model;
        this.device = model.device();
        this.streams = streams;
        this.phases = phases;
        this.arena = device.arena();
        weights.linears().forEach(linear -> sites.add(linear.site()));
        ModelSpec spec = model.spec();
        Map<InputSite, Tensor> factors = factors(weights.index(), saliency);
        long rows = streams.trainedRows();
        this.plain = new HessianAccumulator(device, spec, sites, rows);
        this.weighted = factors.isEmpty() ? null : new HessianAccumulator(device, spec, sites, rows);
        if (weighted != null) {
            factors.forEach(weighted::weigh);
        }
        this.cross = withCross
                ? new CrossMoments(device, spec, sites, streams.batchRows(), rows)
                : null;
    }

    private Map<InputSite, Tensor> factors(int block, @Nullable Saliency saliency) {
        Map<InputSite, Tensor> factors = new EnumMap<>(InputSite.class);
        if (saliency != null) {
            for (InputSite site : sites) {
                Tensor found = saliency.rowFactors(block, site, device, arena);
                if (found != null) {
                    factors.put(site, found.columns(0, streams.trainedRows()));
                }
            }
        }
        return factors;
    }

    /** Passes all sequences through the block: afterwards the original stream stands behind it, the quantized still before. */
    void capture(BlockWeights weights) {
        try (TensorArena scratch = device.arena()) {
            Transformer.Workspace workspace = model.workspace(scratch, streams.batchRows(), streams.sequenceLength());
            Tensor buffer = scratch.matrix(DType.F32, streams.batchRows(), model.spec().hiddenSize());
            streams.eachBatch(0, streams.trainedRows(), (first, count) -> {
                Tensor x = buffer.rows(0, count);
                if (first >= streams.originalFrom()) {
                    phases.enter("forward original");
                    original(weights, first, x, workspace, this::keepOriginal);
                }
                phases.enter("forward");
                streams.quantized().read(device, first, x);
                model.forward(weights, x, workspace, this::add);
                phases.captured(sites, count);
            });
            phases.enter("judge");
            streams.eachBatch(streams.trainedRows(), streams.rows(), (first, count) -> original(weights, first,
                    buffer.rows(0, count), workspace, InputTap.NONE));
            device.synchronize();
        }
    }

    private void original(BlockWeights weights, long first, Tensor x, Transformer.Workspace workspace, InputTap tap) {
        streams.updateOriginal(device, first, x, rows -> model.forward(weights, rows, workspace, tap));
        phases.forward(x.rows());
    }

    private boolean keepOriginal(InputSite site, Tensor x) {
        if (cross != null) {
            cross.original(site, x);
        }
        return true;
    }

    /** The pass ends behind the last site: what the block puts out is not wanted. */
    private boolean add(InputSite site, Tensor x) {
        phases.enter("hessian");
        boolean more = plain.at(site, x);
        phases.hessian(site, x.rows());
        if (weighted != null) {
            phases.enter("hessian weighted");
            weighted.at(site, x);
            phases.hessian(site, x.rows());
        }
        if (cross != null) {
            phases.enter("cross moments");
            cross.quantized(site, x);
            phases.cross(site, x.rows());
        }
        phases.enter("forward");
        return more;
    }

    /** Whether tokens weigh differently. */
    boolean weighs() {
        return weighted != null;
    }

    /** The Hessian of a site, both triangles; this owns it. */
    Tensor hessian(InputSite site, boolean ofWeighted) {
        HessianAccumulator wanted = ofWeighted && weighted != null ? weighted : plain;
        return wanted.hessian(site);
    }

    /** C of a site, all tokens counting the same. */
    Tensor cross(InputSite site) {
        if (cross == null) {
            throw new IllegalStateException("cross moments were not asked for");
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
