package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.capture.HessianAccumulator;
import dev.optgptq.calibrate.model.BlockWeights;
import dev.optgptq.calibrate.model.InputSite;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.model.Transformer.Workspace;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.LinearSolution;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Quantizes a decoder block: captures the inputs of its linears from the calibration stream, solves them, and moves the
 * stream on through the quantized block (GPTQ paper, section 4: each block's inputs come from the quantized blocks before
 * it).
 */
final class BlockQuantizer {

    private final Transformer model;
    private final Device device;
    private final Calibrator calibrator;
    private final boolean trueSequential;
    private final RunProgress progress;

    BlockQuantizer(Transformer model, Calibrator calibrator, boolean trueSequential, RunProgress progress) {
        this.model = model;
        this.device = model.device();
        this.calibrator = calibrator;
        this.trueSequential = trueSequential;
        this.progress = progress;
    }

    /**
     * @param stream the residual stream before the block, replaced by the one after it; null when the calibrator needs no
     *     data
     * @param solved hears of each linear while its codes are still on the device
     */
    void quantize(int block, @Nullable CalibrationStream stream, Consumer<SolvedLinear> solved) {
        try (TensorArena arena = device.arena()) {
            progress.enter("load", "block " + (block + 1) + "/" + model.spec().blocks());
            BlockWeights weights = model.loadBlock(block, arena);
            if (stream == null) {
                for (InputSite site : sites(weights)) {
                    solve(weights, site, null, solved);
                }
                return;
            }
            for (Set<InputSite> pass : passes(weights)) {
                try (HessianAccumulator hessians = new HessianAccumulator(device, model.spec(), pass, stream.rows())) {
                    capture(weights, stream, pass, hessians);
                    for (InputSite site : pass) {
                        solve(weights, site, hessians.hessian(site), solved);
                        hessians.release(site);
                    }
                }
            }
            if (block + 1 < model.spec().blocks()) {
                advance(weights, stream, "forward");
            }
        }
    }

    /**
     * Moves the stream on through a block that was quantized before.
     *
     * @param restore overwrites the weights with the quantized ones
     */
    void replay(int block, CalibrationStream stream, Consumer<BlockWeights> restore) {
        try (TensorArena arena = device.arena()) {
            progress.enter("resume", "block " + (block + 1) + "/" + model.spec().blocks());
            BlockWeights weights = model.loadBlock(block, arena);
            restore.accept(weights);
            advance(weights, stream, "resume");
        }
    }

    private static EnumSet<InputSite> sites(BlockWeights weights) {
        EnumSet<InputSite> sites = EnumSet.noneOf(InputSite.class);
        weights.linears().forEach(linear -> sites.add(linear.site()));
        return sites;
    }

    /** All sites from one pass, or one pass each with everything before it already quantized. */
    private List<Set<InputSite>> passes(BlockWeights weights) {
        EnumSet<InputSite> sites = sites(weights);
        if (!trueSequential) {
            return List.of(sites);
        }
        List<Set<InputSite>> passes = new ArrayList<>();
        sites.forEach(site -> passes.add(EnumSet.of(site)));
        return passes;
    }

    private void capture(BlockWeights weights, CalibrationStream stream, Set<InputSite> wanted,
            HessianAccumulator hessians) {
        InputTap tap = (site, x) -> {
            if (wanted.contains(site)) {
                progress.enter("hessian");
                hessians.at(site, x);
                progress.did(progress.flops().hessian(site, x.rows()));
                progress.enter("forward");
            }
            return wanted.stream().anyMatch(other -> other.compareTo(site) > 0);
        };
        progress.enter("forward");
        double perRow = progress.flops().capturePerRow(wanted, stream.sequenceLength());
        eachBatch(stream, (x, workspace) -> {
            model.forward(weights, x, workspace, tap);
            progress.did(perRow * x.rows());
        }, false);
    }

    private void advance(BlockWeights weights, CalibrationStream stream, String phase) {
        progress.enter(phase);
        double perRow = progress.flops().blockPerRow(stream.sequenceLength());
        eachBatch(stream, (x, workspace) -> {
            model.forward(weights, x, workspace, InputTap.NONE);
            progress.did(perRow * x.rows());
        }, true);
    }

    private interface Batch {
        void run(Tensor x, Workspace workspace);
    }

    private void eachBatch(CalibrationStream stream, Batch batch, boolean keep) {
        ActivationStore activations = stream.activations();
        try (TensorArena scratch = device.arena()) {
            Workspace workspace = model.workspace(scratch, stream.batchRows(), stream.sequenceLength());
            Tensor buffer = scratch.matrix(DType.F32, stream.batchRows(), model.spec().hiddenSize());
            for (long first = 0; first < stream.rows(); first += stream.batchRows()) {
                Tensor x = buffer.rows(0, Math.min(stream.batchRows(), stream.rows() - first));
                if (keep) {
                    activations.update(device, first, x, rows -> batch.run(rows, workspace));
                } else {
                    activations.read(device, first, x);
                    batch.run(x, workspace);
                }
            }
        }
    }

    private void solve(BlockWeights weights, InputSite site, @Nullable Tensor hessian, Consumer<SolvedLinear> solved) {
        progress.enter("solve");
        String what = "block " + weights.index() + ", " + site.label();
        try (SiteSolver solver = new SiteSolver(device, calibrator, hessian, what)) {
            for (LinearSpec linear : weights.linears()) {
                if (linear.site() == site) {
                    try (TensorArena result = device.arena()) {
                        long start = System.nanoTime();
                        LinearSolution solution = model.rewrite(weights, linear,
                                weight -> solver.solve(result, weight));
                        progress.did(progress.flops().solve(linear, calibrator.needsHessian())
                                + progress.flops().polish(linear, calibrator.polish()));
                        solved.accept(new SolvedLinear(linear, solution, (System.nanoTime() - start) / 1e9));
                        progress.enter("solve");
                    }
                }
            }
        }
    }
}
