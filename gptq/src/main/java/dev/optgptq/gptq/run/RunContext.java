package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.gptq.allocate.Allocation;
import dev.optgptq.gptq.allocate.Budget;
import dev.optgptq.gptq.journal.Identity;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.recipe.Resolution;
import dev.optgptq.gptq.report.LayerReports;
import dev.optgptq.gptq.run.checkpoint.BlockRecorder;
import dev.optgptq.gptq.run.checkpoint.CheckpointPlan;
import dev.optgptq.gptq.run.checkpoint.LinearPacker;
import dev.optgptq.gptq.run.memory.MemoryJob;
import dev.optgptq.gptq.run.memory.MemoryNeed;
import dev.optgptq.gptq.run.memory.MemoryPlan;
import dev.optgptq.gptq.run.progress.PhaseClock;
import dev.optgptq.gptq.run.progress.RunProgress;
import dev.optgptq.gptq.run.progress.WorkCount;
import dev.optgptq.gptq.run.resume.RunIdentity;
import dev.optgptq.gptq.run.resume.RunJournal;
import dev.optgptq.gptq.run.resume.SharedJournal;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.RunTexts;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Downloads;
import dev.optgptq.kernels.ranks.Crew;
import dev.optgptq.kernels.ranks.Ranks;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A prepared run: everything that its steps need, decided before anything is computed.
 *
 * @param grids of every linear
 * @param fixedBits modules whose bits a rule names
 * @param allocation how bits were chosen; null where they were not, or not yet
 * @param source the model directory, open
 * @param models the model on every device
 * @param matmulDtype F32, F16 or BF16: matmul dtype while calibrating
 * @param texts the tokens
 * @param plan what will be written
 * @param memory what will be allocated
 * @param warnings sentences for the user
 */
record RunContext(QuantizeSettings settings, ModuleGrids grids, Set<String> fixedBits, @Nullable Allocation allocation,
        Caller caller, ModelDirectory source, Replicas models,
        DType matmulDtype,
        RunTexts texts, CheckpointPlan plan, MemoryPlan memory, PhaseClock clock, RunProgress progress,
        List<String> warnings) {

    /**
     * Checks the settings, reads the texts and plans the memory. Throws UserError for what cannot work.
     *
     * @param texts reads the tokens, given the model
     * @param clock runs since before the source was opened
     */
    static RunContext prepare(QuantizeSettings settings, Caller caller, ModelDirectory source,
            Function<ModelSpec, RunTexts> texts, PhaseClock clock) {
        Device device = caller.devices().first();
        Transformer model = Transformer.open(source, device);
        Preflight.checkRanks(settings, caller.devices().crew().ranks());
        Resolution.Resolved modules = settings.grids(model.spec());
        ModuleGrids grids = modules.grids();
        Preflight.check(settings, grids, source, model.spec());
        CheckpointPlan plan = CheckpointPlan.of(source, model.spec(), grids, settings.grid().format());
        List<String> warnings = Preflight.warnings(settings, grids, model.spec());
        warnings.addAll(modules.remarks());
        if (settings.modules().budget() == null) {
            warnings.forEach(caller.log());
        }
        clock.enter("tokenize");
        RunTexts tokens = texts.apply(model.spec());
        MatmulDtype matmul = MatmulDtype.choose(settings.calibrationPrecision(), source, model.spec(), device);
        if (matmul.remark() != null && tokens.calibration() != null) {
            caller.log().accept(matmul.remark());
        }
        MemoryPlan memory = plan(settings, grids, caller, model, matmul.dtype(), tokens);
        WorkCount work = new WorkCount(model.spec(), grids, !memory.needs().gradients().resident());
        RunProgress progress = new RunProgress(clock, work, caller.listener(),
                work.run(tokens, settings.calibrator(), settings) + allocating(settings, tokens, work));
        return new RunContext(settings, grids, modules.fixedBits(), null, caller, source,
                Replicas.of(model, caller.devices()), matmul.dtype(),
                tokens, plan, memory, clock, progress, warnings);
    }

    /** The same with the bits of all linears chosen, where the settings have a budget for them. */
    RunContext withBitsChosen() {
        Budget budget = settings.modules().budget();
        if (budget == null) {
            return this;
        }
        Allocation chosen = new AllocationRun(this, budget).choose();
        ModuleGrids itsGrids = settings.grids(model(), chosen, grids.skipped());
        Preflight.checkRuntime(settings, itsGrids, model());
        List<String> itsWarnings = Preflight.warnings(settings, itsGrids, model());
        itsWarnings.addAll(settings.grids(model()).remarks());
        itsWarnings.add(chosen.words());
        itsWarnings.forEach(caller.log());
        return new RunContext(settings, itsGrids, fixedBits, chosen, caller, source, models, matmulDtype, texts,
                CheckpointPlan.of(source, model(), itsGrids, settings.grid().format()), memory, clock, progress,
                itsWarnings);
    }

    private static double allocating(QuantizeSettings settings, RunTexts texts, WorkCount work) {
        TokenSequences calibration = texts.calibration();
        return settings.modules().budget() == null || calibration == null
                ? 0
                : work.allocating(calibration, PackedGrid.BITS.size());
    }

    private static MemoryPlan plan(QuantizeSettings settings, ModuleGrids grids, Caller caller, Transformer model,
            DType matmulDtype, RunTexts texts) {
        Crew crew = caller.devices().crew();
        boolean wholeBlocks = settings.solving().trueSequential() || crew.ranks().areSeveral();
        MemoryJob job = new MemoryJob(model.spec(), matmulDtype, grids, settings.calibration().expertsAtOnce(),
                wholeBlocks,
                settings.isGradient() ? settings.refinement() : null, crew);
        MemoryPlan plan = MemoryPlan.of(job, texts,
                MemoryNeed.Free.of(caller.devices().devices()).leastOf(crew.ranks()))
                .copyingBeside(model.prefetchBytes());
        plan.require();
        caller.log().accept("memory: " + plan);
        if (plan.busyDevices() < crew.devices()) {
            caller.log().accept("device memory lets only " + plan.busyDevices() + " of " + crew.devices()
                    + " devices share the calibration");
        }
        return plan;
    }

    ModelSpec model() {
        return models.first().spec();
    }

    /** The first one, on which linears are solved. */
    Device device() {
        return models.first().device();
    }

    /** The models for the calibration stream: linears compute in {@link #matmulDtype}. */
    Replicas calibrated() {
        return models.withProducts(matmulDtype);
    }

    Calibrator calibrator() {
        return settings.calibrator();
    }

    /** Opens the output directory, and the finished parts of an earlier run of the same identity. */
    RunJournal openJournal() {
        Identity identity = RunIdentity.of(settings, grids, matmulDtype, memory, caller.origin(), device(), source,
                texts.calibration());
        return RunJournal.open(settings, identity, model().blocks(), caller.log());
    }

    /** This process's share of the calibration. */
    Partition partition(TokenSequences calibration) {
        return memory.partition(calibration).from(models.crew().index(0));
    }

    Ranks ranks() {
        return models.crew().ranks();
    }

    /** Begins the record of the first block that has none; null on other ranks than the first. */
    @Nullable
    BlockRecorder record(SharedJournal journal, LinearPacker packer) {
        return journal.own().map(own -> record(own, packer)).orElse(null);
    }

    /** Begins the record of the first block that has none. */
    BlockRecorder record(RunJournal journal, LinearPacker packer) {
        return journal.record(block -> plan.packed(model().linears(block)), packer,
                memory.placement().behind() > 0 ? Device::downloads : Downloads::atOnce,
                new LayerReports(settings.solving().damp(), caller.log()));
    }
}
