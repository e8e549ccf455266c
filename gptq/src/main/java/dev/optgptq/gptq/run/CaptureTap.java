package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.HessianAccumulator;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.gptq.refine.Phases;
import dev.optgptq.kernels.Tensor;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Adds the inputs of some sites to their Hessians; what lies after the last of them is not run, nor are experts without one,
 * unless the block's output is wanted.
 *
 * @param output whether it is
 */
record CaptureTap(HessianAccumulator hessians, Set<InputSite> wanted, boolean output, Phases phases)
        implements
            InputTap {

    @Override
    public boolean at(InputSite site, Tensor x, @Nullable Tensor tokens) {
        if (wanted.contains(site)) {
            phases.enter("hessian");
            hessians.at(site, x);
            phases.hessian(site, x.rows());
            phases.enter("forward");
        }
        return output || wanted.stream().anyMatch(other -> other.compareTo(site) > 0);
    }

    @Override
    public boolean runs(int expert) {
        return output || wanted.stream().anyMatch(site -> site.expert() == expert);
    }

    @Override
    public InputTap ofSome(Tensor tokens) {
        return this;
    }
}
