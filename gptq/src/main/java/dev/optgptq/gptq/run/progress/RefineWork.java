package dev.optgptq.gptq.run.progress;

import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.solve.Polish;
import dev.optgptq.gptq.tune.ModelTuner;
import java.util.Set;

/** The floating-point operations of gradient calibration, evaluating not included. */
record RefineWork(WorkCount flops, ModelSpec model, ModuleGrids grids, Refinement refinement,
        TokenSequences calibration) {

    /** Of all blocks, of the backward pass before them, and of tuning the scales after them (norms need no matmuls). */
    double total() {
        double blocks = 0;
        for (int block = 0; block < model.blocks(); block++) {
            blocks += block(block) + judged() * blockPerRow();
        }
        double looks = (double) ModelTuner.LOOKS * judged();
        double scales = refinement.tuneSteps() == 0
                ? 0
                : model.blocks() * blockPerRow() * (3 * learned() + looks);
        return blocks + (refinement.weighTokens() ? flops.gradients(calibration) : 0) + scales;
    }

    /**
     * Work that a resumed run skips: finished blocks are run again only for the inputs of the next, and plain GPTQ's
     * stream is not computed.
     */
    double finished(int blocks) {
        double spared = blocks == 0 ? 0 : model.blocks() * judged() * blockPerRow();
        for (int block = 0; block < blocks; block++) {
            spared += block(block) - replay();
        }
        return spared;
    }

    /** One block in all its variants; after the last one only the held-out sequences are needed. */
    private double block(int block) {
        int solved = refinement.variants(model.block(block));
        int variants = solved + (refinement.tuneSteps() > 0 ? 1 : 0);
        double passed = block + 1 < model.blocks() ? calibration.tokens() : judged();
        Set<InputSite> sites = model.block(block).sites();
        double solves = 0;
        for (LinearSpec linear : grids.quantized(model.linears(block))) {
            solves += solved * flops.solve(linear, true);
            for (Polish step : refinement.polish().steps()) {
                solves += flops.polish(linear, step);
            }
        }
        return solves + moments(model.block(block))
                + trained() * flops.capturePerRow(model.block(block), sites, calibration.length())
                + blockPerRow() * (original() + passed + variants * judged() + 3 * learned());
    }

    /** Hessians, those of weighted tokens, and cross moments, which experts do not have. */
    private double moments(BlockSpec block) {
        double moments = 0;
        for (InputSite site : block.sites()) {
            int sums = 1 + (refinement.weighTokens() ? 1 : 0) + (refinement.propagate() && !site.ofExpert() ? 2 : 0);
            moments += sums * flops.share(block, site) * flops.hessian(site, trained());
        }
        return moments;
    }

    private double replay() {
        return blockPerRow() * (original() + calibration.tokens());
    }

    private double blockPerRow() {
        return flops.blockPerRow(calibration.length());
    }

    private double original() {
        return refinement.followsOriginal() ? calibration.tokens() : judged();
    }

    private double judged() {
        return (double) Refinement.heldOut(calibration.count()) * calibration.length();
    }

    private long trained() {
        return calibration.tokens() - (long) judged();
    }

    /** Tokens that all steps of one round of learning see, each as often as it is seen. */
    private double learned() {
        int trained = calibration.count() - Refinement.heldOut(calibration.count());
        return refinement.learnedSequences(trained) * calibration.length();
    }
}
