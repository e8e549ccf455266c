package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.allocate.Allocation;
import dev.optgptq.gptq.allocate.Budget;
import dev.optgptq.gptq.allocate.Option;
import dev.optgptq.gptq.allocate.Unit;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.recipe.Together;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.refine.Sensitivities;
import dev.optgptq.gptq.refine.Streams;
import dev.optgptq.gptq.run.memory.MemoryJob;
import dev.optgptq.gptq.run.memory.MemoryNeed;
import dev.optgptq.gptq.run.memory.MemoryPlan;
import dev.optgptq.gptq.run.progress.RunPhases;
import dev.optgptq.gptq.serving.Target;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.solve.SolveSettings;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * Chooses the bits of every linear within a budget, before anything is quantized: the loss's gradient on the calibration text, then
 * block by block what each width would cost, and the best choice of all. The same settings give the same choice, also after an
 * interruption, which measures again.
 */
final class AllocationRun {

    private final RunContext run;
    private final QuantizeSettings settings;
    private final TokenSequences calibration;
    private final Budget budget;
    private final Map<PackedGrid, Boolean> taken = new HashMap<>();

    /** @param run prepared as if all linears had 8 bits */
    AllocationRun(RunContext run, Budget budget) {
        this.run = run;
        this.settings = run.settings();
        this.budget = budget;
        this.calibration = Objects.requireNonNull(run.texts().calibration());
    }

    /** Throws UserError BAD_SETTING where no choice fits. */
    Allocation choose() {
        MemoryPlan memory = plan();
        Partition partition = memory.partition(calibration);
        run.progress().enter("gradients", "bits of each module");
        try (Saliency saliency = Saliency.capture(run.models(), calibration, refinement().labels(),
                memory.gradientLimits(), run.progress().part(run.progress().flops().gradients(calibration)));
                CalibrationStream stream = embed(calibration, partition, memory);
                CalibrationStream heldOut = embed(
                        calibration.select(Refinement.heldOutOf(calibration.count())), partition.ofHeldOut(),
                        memory)) {
            Streams streams = new Streams(stream.activations(), heldOut.activations(), null, calibration.length(),
                    partition);
            Sensitivities sensitivities = new Sensitivities(run.models(),
                    settings.solving().scaleSearch() || settings.isGradient(), streams, saliency, memory.experts(),
                    new RunPhases(run.progress(), calibration.length()));
            List<Unit> units = new ArrayList<>();
            for (BlockSpec block : run.model().blockSpecs()) {
                run.progress().enter("allocate", "block " + (block.index() + 1) + "/" + run.model().blocks());
                Map<LinearSpec, double[]> losses = sensitivities.next(block.index(), this::candidates);
                Together.gridsOf(block).forEach(linears -> unit(block, run.grids().quantized(linears), losses, units));
            }
            return Allocation.of(units, budget, run.plan().keptBytes());
        }
    }

    private Refinement refinement() {
        return new Refinement(true, settings.refinement().labels(), false, 0, settings.refinement().seed());
    }

    private MemoryPlan plan() {
        MemoryJob job = new MemoryJob(run.model(), DType.F32, run.grids(), settings.calibration().expertsAtOnce(),
                run.ranks().areSeveral(), refinement(), run.caller().devices().crew());
        MemoryPlan plan = MemoryPlan.of(job, run.texts(), MemoryNeed.Free.of(run.caller().devices().devices()));
        plan.require();
        run.caller().log().accept("memory, while bits are chosen: " + plan);
        return plan;
    }

    private CalibrationStream embed(TokenSequences sequences, Partition partition, MemoryPlan memory) {
        return CalibrationStream.embed(run.models(), sequences, partition, memory.placement().place());
    }

    private void unit(BlockSpec block, List<LinearSpec> linears, Map<LinearSpec, double[]> losses, List<Unit> units) {
        if (linears.isEmpty()) {
            return;
        }
        List<PackedGrid> grids = grids(linears.getFirst());
        List<Option> options = new ArrayList<>();
        for (int i = 0; i < grids.size(); i++) {
            int grid = i;
            options.add(new Option(grids.get(i),
                    linears.stream().mapToLong(linear -> bytes(linear, grids.get(grid))).sum(),
                    linears.stream().mapToDouble(linear -> Objects.requireNonNull(losses.get(linear))[grid]).sum()));
        }
        units.add(new Unit(block.index(), linears, options));
    }

    private long bytes(LinearSpec linear, PackedGrid grid) {
        return new QuantizationConfig(grid.bits(), grid.groupSize(), grid.symmetric(), grid.descAct(),
                settings.grid().format()).tensors(linear.module(), linear.inputs(), linear.outputs()).stream()
                .mapToLong(tensor -> tensor.spec().bytes()).sum();
    }

    private List<SolveSettings> candidates(LinearSpec linear) {
        SolveSettings common = settings.calibrator().settings();
        return run.grids().quantizes(linear)
                ? grids(linear).stream().map(grid -> ModuleGrids.settings(common, grid)).toList()
                : List.of();
    }

    /** Every width that the format and the target take, or the one that a rule names. */
    private List<PackedGrid> grids(LinearSpec linear) {
        PackedGrid own = run.grids().of(linear);
        if (run.fixedBits().contains(linear.module())) {
            return List.of(own);
        }
        List<PackedGrid> grids = PackedGrid.BITS.stream()
                .map(bits -> new PackedGrid(bits, own.groupSize(), own.symmetric(), own.descAct()))
                .filter(grid -> taken.computeIfAbsent(grid, this::isTaken)).toList();
        if (grids.isEmpty()) {
            throw new UserError(Code.BAD_SETTING, budget.words() + ": expected widths that --format "
                    + settings.grid().format() + " and the target take, found none; choose another --format");
        }
        return grids;
    }

    private boolean isTaken(PackedGrid grid) {
        try {
            QuantizationConfig config = new QuantizationConfig(grid.bits(), grid.groupSize(), grid.symmetric(),
                    grid.descAct(), settings.grid().format());
            settings.target().rules().ifPresent((Target target) -> target.check(config, run.model()));
            return true;
        } catch (UserError refused) {
            return false;
        }
    }
}
