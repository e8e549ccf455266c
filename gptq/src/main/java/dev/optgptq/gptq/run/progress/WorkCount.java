package dev.optgptq.gptq.run.progress;

import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.FlopCount;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.RunTexts;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.Polish;
import java.util.Set;

/** The floating-point operations of each part of a run, 2 per multiply-add: for progress and for the floor. */
public final class WorkCount {

    private final ModelSpec model;
    private final ModuleGrids grids;
    private final boolean blocksAgain;
    private final FlopCount flops;

    /** @param blocksAgain whether the backward pass recomputes blocks */
    public WorkCount(ModelSpec model, ModuleGrids grids, boolean blocksAgain) {
        this.model = model;
        this.grids = grids;
        this.blocksAgain = blocksAgain;
        this.flops = new FlopCount(model);
    }

    /** A whole decoder block, per token of sequences of that length, on average over the blocks. */
    double blockPerRow(int sequenceLength) {
        return model.blockSpecs().stream().mapToDouble(block -> blockPerRow(block, sequenceLength)).average()
                .orElse(0);
    }

    private double blockPerRow(BlockSpec block, int sequenceLength) {
        return flops.linears(block) + flops.attention(block, sequenceLength) / sequenceLength;
    }

    /** A block up to the last of the wanted sites, per token. */
    double capturePerRow(BlockSpec block, Set<InputSite> wanted, int sequenceLength) {
        InputSite last = wanted.stream().max(InputSite::compareTo).orElseThrow();
        double linears = block.linears().stream().filter(linear -> linear.site().compareTo(last) < 0)
                .mapToDouble(linear -> FlopCount.share(block, linear) * perToken(linear)).sum();
        boolean attends = last.compareTo(InputSite.ATTENTION_INPUT) > 0;
        return linears + (attends ? flops.attention(block, sequenceLength) / sequenceLength : 0);
    }

    /** The same, on average over the blocks that have all of these sites. */
    double capturePerRow(Set<InputSite> wanted, int sequenceLength) {
        return model.blockSpecs().stream().filter(block -> block.sites().containsAll(wanted))
                .mapToDouble(block -> capturePerRow(block, wanted, sequenceLength)).average().orElse(0);
    }

    /** Accumulating the Hessian of a site, upper triangle only. */
    double hessian(InputSite site, long rows) {
        double n = model.most(block -> block.sites().contains(site) ? block.inputs(site) : 0);
        return n * n * rows;
    }

    /** The factorisation is counted with the linears that share it. */
    public double solve(LinearSpec linear, boolean withHessian) {
        double n = linear.inputs();
        double m = linear.outputs();
        double errorFeedback = n * n * m;
        // Errors and energy, of one triangle of the Hessian each.
        double measure = 2 * n * n * m;
        return withHessian ? errorFeedback + measure : n * m;
    }

    /** Work of polishing a solution, beyond solving. */
    public double polish(LinearSpec linear, Polish polish) {
        double n = linear.inputs();
        return 2 * n * n * linear.outputs() * polish.products();
    }

    /** The loss's gradient at every linear's output. */
    public double gradients(TokenSequences sequences) {
        return flops.gradients(sequences.count(), sequences.length(), blocksAgain);
    }

    public double evaluation(TokenSequences windows) {
        double tokens = windows.ids().length;
        return tokens * (model.blocks() * blockPerRow(windows.length()) + flops.head());
    }

    /** All work of a run that is not resumed. */
    public double run(RunTexts texts, Calibrator calibrator, QuantizeSettings settings) {
        TokenSequences evaluation = texts.evaluation();
        TokenSequences calibration = texts.calibration();
        double total = evaluation == null ? 0 : 2 * evaluation(evaluation);
        if (calibration != null && calibrator.needsGradients()) {
            return total + refining(calibration, settings).total();
        }
        for (int block = 0; block < model.blocks(); block++) {
            total += solving(block, texts, calibrator, settings.solving().trueSequential());
        }
        if (calibration != null) {
            total += (model.blocks() - 1) * advancing(calibration);
        }
        return total;
    }

    /** Forward passes of plain GPTQ: each block up to its last site, and all but the last again, whole. */
    public double forward(TokenSequences calibration) {
        double capture = model.blockSpecs().stream()
                .mapToDouble(block -> capturePerRow(block, grids.sites(block), calibration.length())).sum();
        return calibration.tokens() * capture + (model.blocks() - 1) * advancing(calibration);
    }

    /** All Hessians of plain GPTQ. */
    public double hessians(TokenSequences calibration) {
        double all = 0;
        for (BlockSpec block : model.blockSpecs()) {
            for (InputSite site : grids.sites(block)) {
                double n = block.inputs(site);
                all += share(block, site) * n * n * calibration.tokens();
            }
        }
        return all;
    }

    /** Solving a block's linears. */
    public double solving(BlockSpec block) {
        return grids.quantized(block.linears()).stream().mapToDouble(linear -> solve(linear, true)).sum();
    }

    /** Choosing bits: the loss's gradient, and every linear in some widths. */
    public double allocating(TokenSequences calibration, int widths) {
        double total = gradients(calibration);
        for (BlockSpec block : model.blockSpecs()) {
            for (LinearSpec linear : grids.quantized(block.linears())) {
                total += widths * solve(linear, true);
            }
            for (InputSite site : block.sites()) {
                total += 2 * share(block, site) * hessian(site, calibration.tokens());
            }
            total += calibration.tokens() * (capturePerRow(block, block.sites(), calibration.length())
                    + blockPerRow(calibration.length()));
        }
        return total;
    }

    /** Work that a resumed run skips: finished blocks are run again only for the inputs of the next. */
    public double finished(int blocks, RunTexts texts, Calibrator calibrator, QuantizeSettings settings) {
        TokenSequences calibration = texts.calibration();
        if (calibration != null && calibrator.needsGradients()) {
            return refining(calibration, settings).finished(blocks);
        }
        double replays = calibration == null || blocks < model.blocks()
                ? 0
                : (model.blocks() - 1) * advancing(calibration);
        double solved = 0;
        for (int block = 0; block < blocks; block++) {
            solved += solving(block, texts, calibrator, settings.solving().trueSequential());
        }
        return solved + replays;
    }

    private RefineWork refining(TokenSequences calibration, QuantizeSettings settings) {
        return new RefineWork(this, model, grids, settings.refinement(), calibration);
    }

    /** A block's inputs, Hessians and codes. */
    private double solving(int index, RunTexts texts, Calibrator calibrator, boolean trueSequential) {
        BlockSpec block = model.block(index);
        double total = 0;
        for (LinearSpec linear : grids.quantized(block.linears())) {
            total += solve(linear, calibrator.needsHessian()) + polish(linear, calibrator.polish());
        }
        TokenSequences calibration = texts.calibration();
        Set<InputSite> sites = grids.sites(block);
        if (calibration == null || sites.isEmpty()) {
            return total;
        }
        double capture = 0;
        for (InputSite site : sites) {
            total += share(block, site) * hessian(site, calibration.tokens());
            capture += capturePerRow(block, Set.of(site), calibration.length());
        }
        double perRow = trueSequential ? capture : capturePerRow(block, sites, calibration.length());
        return total + calibration.tokens() * perRow;
    }

    /** How many of the tokens pass a site, on average. */
    double share(BlockSpec block, InputSite site) {
        return block.linears().stream().filter(linear -> linear.site().equals(site)).findFirst()
                .map(linear -> FlopCount.share(block, linear)).orElse(1.0);
    }

    /** A block's outputs for the next. */
    private double advancing(TokenSequences calibration) {
        return calibration.tokens() * blockPerRow(calibration.length());
    }

    private static double perToken(LinearSpec linear) {
        return 2.0 * linear.inputs() * linear.outputs();
    }
}
