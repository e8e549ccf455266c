package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.Activity;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.kernels.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Moments of a block's inputs over the training sequences, as its solves need them: the Hessian of every site, another
 * with tokens weighted by the loss's gradient, and the cross moments of quantized and original inputs. Every device
 * sums over its sequences; the first one ends up with the total, of several ranks with that of the sites it solves.
 */
final class BlockMoments implements AutoCloseable {

    private final Replicas models;
    private final Streams streams;
    private final Phases phases;
    private final SiteOwners owners;
    private final List<DeviceMoments> sums = new ArrayList<>();

    BlockMoments(Replicas models, int block, Streams streams, @Nullable Saliency saliency, boolean withCross,
            Phases phases) {
        this.models = models;
        this.streams = streams;
        this.phases = phases;
        this.owners = new SiteOwners(models.first().spec().block(block), models.crew().counts().size());
        try {
            for (int device = 0; device < models.size(); device++) {
                sums.add(new DeviceMoments(models.on(device), block, streams, saliency, withCross));
            }
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /**
     * Passes all sequences through the block: afterwards the original stream is at its output, the quantized stream
     * still at its input.
     */
    void capture(Replicas.Block weights) {
        SharedPhases shared = new SharedPhases(phases, models.size());
        models.together(device -> sums.get(device).capture(weights.on(device), streams.partition().summed(device),
                streams.partition().heldOut(device), shared.of(device)));
        shared.finish();
        phases.enter("hessian");
        while (sums.size() > 1) {
            DeviceMoments next = sums.remove(1);
            try (next) {
                first().absorb(next);
            }
        }
        if (models.crew().ranks().areSeveral()) {
            phases.enter("share");
            first().gather(models.crew().ranks(), owners);
        }
    }

    /** Which rank solves which site. */
    SiteOwners owners() {
        return owners;
    }

    private DeviceMoments first() {
        return sums.getFirst();
    }

    /** Whether tokens have different weights. */
    boolean weighs() {
        return first().weighs();
    }

    /** The Hessian of a site, both triangles; this owns it. */
    Tensor hessian(InputSite site, boolean ofWeighted) {
        return first().hessian(site, ofWeighted);
    }

    /** Largest magnitudes of a site's input and of the residual stream. */
    Activity activity(InputSite site) {
        return first().activity(site);
    }

    float largestResidual() {
        return first().largestResidual();
    }

    /** C of a site, with equal token weights. */
    Tensor cross(InputSite site) {
        return first().cross(site);
    }

    @Override
    public void close() {
        sums.forEach(DeviceMoments::close);
    }
}
