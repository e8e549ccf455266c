package dev.optgptq.gptq.run.progress;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.gptq.refine.Phases;
import dev.optgptq.gptq.solve.Polish;
import java.util.Set;

/**
 * The work of blocks on the run's clock and progress.
 *
 * @param sequenceLength of the calibration
 */
public record RunPhases(RunProgress progress, int sequenceLength) implements Phases {

    @Override
    public void enter(String phase) {
        progress.enter(phase);
    }

    @Override
    public void forward(long rows) {
        progress.did(rows * progress.flops().blockPerRow(sequenceLength));
    }

    @Override
    public void captured(Set<InputSite> sites, long rows) {
        progress.did(rows * progress.flops().capturePerRow(sites, sequenceLength));
    }

    @Override
    public void hessian(InputSite site, long rows) {
        progress.did(progress.flops().hessian(site, rows));
    }

    @Override
    public void cross(InputSite site, long rows) {
        progress.did(2 * progress.flops().hessian(site, rows));
    }

    @Override
    public void solved(LinearSpec linear, Polish polish) {
        progress.did(progress.flops().solve(linear, true) + progress.flops().polish(linear, polish));
    }

    @Override
    public void learned(long rows) {
        progress.did(3 * rows * progress.flops().blockPerRow(sequenceLength));
    }
}
