package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.Prefetch;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedLinearReader;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.gptq.refine.BlockRefiner;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.refine.SolvedLinear;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.refine.Streams;
import dev.optgptq.gptq.run.checkpoint.BlockRecord;
import dev.optgptq.gptq.run.checkpoint.BlockRecorder;
import dev.optgptq.gptq.run.checkpoint.CheckpointPlan;
import dev.optgptq.gptq.run.checkpoint.LinearPacker;
import dev.optgptq.gptq.run.checkpoint.TunedParameters;
import dev.optgptq.gptq.run.memory.MemoryPlan;
import dev.optgptq.gptq.run.memory.RefineMemory;
import dev.optgptq.gptq.run.progress.PhaseClock;
import dev.optgptq.gptq.run.progress.RunPhases;
import dev.optgptq.gptq.run.progress.RunProgress;
import dev.optgptq.gptq.run.resume.RunJournal;
import dev.optgptq.gptq.run.resume.SavedResults;
import dev.optgptq.gptq.solve.SolveSettings;
import dev.optgptq.gptq.tune.HeldOutLosses;
import dev.optgptq.gptq.tune.ModelTuner;
import dev.optgptq.gptq.tune.PackedBlock;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.BiConsumer;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** The blocks of a run that is calibrated by gradients: saliency, refinement block by block, and what is learned over all at the end. */
final class GradientRun {

    private final Replicas models;
    private final Transformer model;
    private final SolveSettings settings;
    private final Refinement refinement;
    private final TokenSequences calibration;
    private final CheckpointPlan plan;
    private final MemoryPlan memory;
    private final Partition partition;
    private final LinearPacker packer;
    private final RunProgress progress;
    private final PhaseClock clock;
    private final RunPhases phases;

    GradientRun(Replicas models, SolveSettings settings, Refinement refinement, TokenSequences calibration,
            CheckpointPlan plan, MemoryPlan memory, LinearPacker packer, RunProgress progress, PhaseClock clock) {
        this.models = models;
        this.model = models.first();
        this.settings = settings;
        this.refinement = refinement;
        this.calibration = calibration;
        this.plan = plan;
        this.memory = memory;
        this.partition = memory.partition(calibration);
        this.packer = packer;
        this.progress = progress;
        this.clock = clock;
        this.phases = new RunPhases(progress, calibration.length());
    }

    /** Whether nothing is left to do but to put the checkpoint together. */
    boolean isDone(RunJournal journal) {
        boolean tuned = refinement.tuneSteps() == 0 || TunedParameters.find(journal.parts()).isPresent();
        return tuned && journal.finished().size() == model.spec().blocks();
    }

    /**
     * Finishes the blocks that are not.
     *
     * @param record writes a block down: its linears on the device, and how they came about
     */
    void run(RunJournal journal, BiConsumer<BlockRecorder, SolvedLinear> record) {
        int blocks = model.spec().blocks();
        try (Saliency saliency = journal.finished().size() < blocks ? saliency(journal) : null;
                CalibrationStream quantized = embed();
                CalibrationStream original = refinement.followsOriginal() ? embed() : embedHeldOut();
                CalibrationStream plain = journal.finished().isEmpty() ? embedHeldOut() : null;
                Prefetch prefetch = models.prefetch(memory.ahead())) {
            Streams streams = new Streams(quantized.activations(), original.activations(),
                    plain == null ? null : plain.activations(), calibration.length(), partition);
            BlockRefiner refiner = new BlockRefiner(models, settings, refinement, streams, saliency, phases);
            for (int block = 0; block < journal.finished().size(); block++) {
                progress.enter("resume", "block " + (block + 1) + "/" + blocks);
                prefetch.wants(block);
                BlockRecord finished = journal.finished().get(block);
                refiner.replay(block, weights -> finished.restore(model, weights, packer));
            }
            for (int block = journal.finished().size(); block < blocks; block++) {
                prefetch.wants(block);
                refine(block, refiner, journal, record);
            }
            if (new SavedResults(journal.parts()).heldOutLosses().isEmpty()) {
                measure(journal, streams);
            }
            if (refinement.tuneSteps() > 0) {
                tune(journal, streams.original());
            }
        }
    }

    private void refine(int block, BlockRefiner refiner, RunJournal journal,
            BiConsumer<BlockRecorder, SolvedLinear> record) {
        progress.enter("load", "block " + (block + 1) + "/" + model.spec().blocks());
        try (BlockRecorder recorder = journal.record(plan.packed(model.spec().linears(block)), packer)) {
            List<StepOutcome> steps = refiner.refine(block, linears -> {
                progress.enter("write");
                linears.forEach(linear -> record.accept(recorder, linear));
            });
            recorder.finish(clock.phases(), steps);
        }
    }

    private void measure(RunJournal journal, Streams streams) {
        progress.enter("judge", "whole model");
        HeldOutLosses losses = HeldOutLosses.of(model, streams, calibration);
        progress.enter("write");
        new SavedResults(journal.parts()).save(losses, clock.phases());
    }

    private CalibrationStream embed() {
        return embed(calibration, partition);
    }

    /** Of the sequences that are held out. */
    private CalibrationStream embedHeldOut() {
        TokenSequences heldOut = calibration.select(Refinement.heldOutOf(calibration.count()));
        return embed(heldOut, partition.ofHeldOut());
    }

    private CalibrationStream embed(TokenSequences sequences, Partition who) {
        progress.enter("load", "calibration");
        return CalibrationStream.embed(models, sequences, who, memory.place());
    }

    private @Nullable Saliency saliency(RunJournal journal) {
        if (!refinement.weighTokens()) {
            return null;
        }
        SavedResults saved = new SavedResults(journal.parts());
        Saliency known = saved.saliency(model.spec(), calibration, memory.hostLimit());
        if (known != null) {
            return known;
        }
        progress.enter("gradients", "calibration");
        Saliency saliency = Saliency.capture(models, calibration, refinement.labels(), memory.gradientLimits(),
                progress.part(progress.flops().gradients(calibration)));
        try {
            progress.enter("write");
            saved.save(saliency, calibration, clock.phases());
            return saliency;
        } catch (RuntimeException e) {
            saliency.close();
            throw e;
        }
    }

    private void tune(RunJournal journal, ActivationStore teacher) {
        progress.enter("write", "blocks");
        journal.await();
        progress.enter("tune scales", "whole model");
        List<SafetensorsFile> files = new ArrayList<>();
        try {
            List<PackedBlock> blocks = new ArrayList<>();
            Map<String, PackedLinear> byModule = new HashMap<>();
            for (BlockRecord finished : journal.finished()) {
                SafetensorsFile file = finished.part().open();
                files.add(file);
                List<LinearSpec> linears = model.spec().linears(blocks.size());
                List<PackedLinear> packed = linears.stream()
                        .map(linear -> PackedLinearReader.read(linear.module(), file.tensors(), packer.config()))
                        .toList();
                blocks.add(new PackedBlock(linears, packed));
                for (int i = 0; i < linears.size(); i++) {
                    byModule.put(linears.get(i).module(), packed.get(i));
                }
            }
            Predicate<String> tuned = TunedParameters.tensors(model.spec(), refinement);
            List<TensorSpec> specs = plan.specs().stream().filter(spec -> tuned.test(spec.name())).toList();
            ModelTuner tuner = new ModelTuner(model, refinement, phases);
            TunedParameters.record(journal.parts(), specs, module -> Objects.requireNonNull(byModule.get(module)),
                    sink -> tuner.tune(blocks, calibration, teacher, RefineMemory.limits(memory.hostLimit()), sink),
                    clock);
        } finally {
            files.forEach(SafetensorsFile::close);
        }
    }

    /** What every step did, in the order in which they were tried. */
    static List<StepOutcome> outcomes(RunJournal journal) {
        List<StepOutcome> outcomes = new ArrayList<>();
        journal.finished().forEach(block -> outcomes.addAll(block.steps()));
        TunedParameters.find(journal.parts()).ifPresent(tuned -> outcomes.add(tuned.outcome()));
        return outcomes;
    }
}
