package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.Activity;
import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.calibrate.capture.MixtureInputs;
import dev.optgptq.calibrate.capture.ParkedHessians;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.Together;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Moments of a block's inputs over the training sequences, as its solves need them: the Hessian of every site, another
 * with tokens weighted by the loss's gradient, and the cross moments of quantized and original inputs. Every device
 * sums over its sequences; the first one ends up with the total, of several ranks with that of the sites it solves. Those of
 * experts that are summed in several passes are parked on the host.
 */
final class BlockMoments implements AutoCloseable {

    private final Replicas models;
    private final BlockSpec block;
    private final Streams streams;
    private final @Nullable Saliency saliency;
    private final boolean withCross;
    private final ExpertPasses experts;
    private final Phases phases;
    private final SiteOwners owners;
    private final @Nullable ParkedHessians parked;
    private final @Nullable ParkedHessians parkedWeighted;
    /** Of the last pass, on the first device. */
    private @Nullable DeviceMoments total;
    private boolean weighs;

    /** @param experts how many have their Hessians in memory at once */
    BlockMoments(Replicas models, int block, Streams streams, @Nullable Saliency saliency, boolean withCross,
            ExpertPasses experts, Phases phases) {
        this.models = models;
        this.block = models.first().spec().block(block);
        this.streams = streams;
        this.saliency = saliency;
        this.withCross = withCross;
        this.experts = experts;
        this.phases = phases;
        this.owners = new SiteOwners(this.block, models.crew().counts().size());
        this.parked = experts.areSeveral(this.block) ? parking() : null;
        this.parkedWeighted = parked != null && saliency != null ? parking() : null;
    }

    private ParkedHessians parking() {
        return new ParkedHessians(models.first().device(), block, streams.trainedRows(), experts.bufferLimit());
    }

    /**
     * Passes all sequences through the block: afterwards the original stream is at its output, the quantized stream
     * still at its input.
     */
    void capture(Replicas.Block weights) {
        List<Set<InputSite>> passes = experts.passes(block, block.sites());
        try (MixtureInputs kept = MixtureInputs.of(passes, streams.trainedRows(), models.first().spec().hiddenSize(),
                experts.bufferLimit())) {
            capture(weights, passes, kept);
        }
    }

    private void capture(Replicas.Block weights, List<Set<InputSite>> passes, @Nullable MixtureInputs kept) {
        for (Set<InputSite> sites : passes) {
            DeviceMoments found = sum(weights, new DeviceMoments.Pass(sites, sites.equals(passes.getLast()), kept));
            if (kept != null) {
                kept.completed();
            }
            total = found;
            weighs |= found.weighs();
            if (parked != null) {
                found.park(parked, parkedWeighted);
            }
            if (!sites.equals(passes.getLast())) {
                close(found);
            }
        }
    }

    /** The sums of one pass over all devices. */
    private DeviceMoments sum(Replicas.Block weights, DeviceMoments.Pass pass) {
        List<DeviceMoments> sums = new ArrayList<>();
        try {
            for (int device = 0; device < models.size(); device++) {
                sums.add(new DeviceMoments(models.on(device), block, streams, saliency, pass, withCross));
            }
            SharedPhases shared = new SharedPhases(phases, models.size());
            models.together(device -> sums.get(device).capture(weights.on(device), streams.partition().summed(device),
                    streams.partition().heldOut(device), shared.of(device)));
            shared.finish();
            phases.enter("hessian");
            DeviceMoments first = sums.getFirst();
            Together.inPairs(sums.size(), (device, next) -> sums.get(device).absorb(sums.get(next)));
            while (sums.size() > 1) {
                sums.removeLast().close();
            }
            if (models.crew().ranks().areSeveral()) {
                phases.enter("share");
                first.gather(models.crew().ranks(), owners);
            }
            return first;
        } catch (RuntimeException e) {
            sums.forEach(DeviceMoments::close);
            throw e;
        }
    }

    private void close(DeviceMoments sums) {
        models.first().device().synchronize();
        sums.close();
        total = null;
    }

    /** Which rank solves which site. */
    SiteOwners owners() {
        return owners;
    }

    private DeviceMoments total() {
        return Objects.requireNonNull(total, "capture() first");
    }

    /** Whether tokens have different weights. */
    boolean weighs() {
        return weighs;
    }

    /** Whether a site's Hessians are parked: they are in memory one at a time, each as it was summed. */
    boolean isParked(InputSite site) {
        return parked != null && parked.has(site);
    }

    /** The Hessian of a site, both triangles; this owns it, and a parked one only until that of another site is asked for. */
    Tensor hessian(InputSite site, boolean ofWeighted) {
        return isParked(site) ? parked(site, ofWeighted).hessian(site) : total().hessian(site, ofWeighted);
    }

    /** Frees what hessian() brought of a parked site. */
    void release(InputSite site, boolean ofWeighted) {
        parked(site, ofWeighted).release(site);
    }

    private ParkedHessians parked(InputSite site, boolean ofWeighted) {
        return ofWeighted && parkedWeighted != null && parkedWeighted.has(site)
                ? parkedWeighted
                : Objects.requireNonNull(parked);
    }

    /** Largest magnitudes of a site's input and of the residual stream. */
    Activity activity(InputSite site) {
        return parked != null && parked.has(site) ? parked.activity(site) : total().activity(site);
    }

    float largestResidual() {
        return total().largestResidual();
    }

    /** C of a site, with equal token weights. */
    Tensor cross(InputSite site) {
        return total().cross(site);
    }

    /** How many bytes may be parked in memory; more are in a file. */
    long parkedLimit() {
        return experts.bufferLimit();
    }

    @Override
    public void close() {
        if (total != null) {
            close(total);
        }
        if (parkedWeighted != null) {
            parkedWeighted.close();
        }
        if (parked != null) {
            parked.close();
        }
    }
}
