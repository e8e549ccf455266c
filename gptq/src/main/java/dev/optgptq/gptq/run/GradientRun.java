package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.weights.Prefetch;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedLinearReader;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.gptq.refine.BlockRefiner;
import dev.optgptq.gptq.refine.RefinedBlock;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.refine.Streams;
import dev.optgptq.gptq.run.checkpoint.BlockRecord;
import dev.optgptq.gptq.run.checkpoint.BlockRecorder;
import dev.optgptq.gptq.run.checkpoint.LinearPacker;
import dev.optgptq.gptq.run.checkpoint.TunedParameters;
import dev.optgptq.gptq.run.memory.RefineMemory;
import dev.optgptq.gptq.run.progress.RunPhases;
import dev.optgptq.gptq.run.progress.RunProgress;
import dev.optgptq.gptq.run.resume.RunJournal;
import dev.optgptq.gptq.run.resume.SavedResults;
import dev.optgptq.gptq.run.resume.SharedJournal;
import dev.optgptq.gptq.tune.HeldOutLosses;
import dev.optgptq.gptq.tune.ModelTuner;
import dev.optgptq.gptq.tune.PackedBlock;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * The blocks of a run with gradient calibration: token weights, refinement block by block, and tuning of the whole
 * model at the end.
 */
final class GradientRun {

    private final RunContext run;
    private final TokenSequences calibration;
    private final LinearPacker packer;
    private final Refinement refinement;
    private final RunProgress progress;
    private final RunPhases phases;

    /** @param calibration the run's, which gradient calibration always has */
    GradientRun(RunContext run, TokenSequences calibration, LinearPacker packer) {
        this.run = run;
        this.calibration = calibration;
        this.packer = packer;
        this.refinement = run.settings().refinement();
        this.progress = run.progress();
        this.phases = new RunPhases(progress, calibration.length());
    }

    /** Learning over the whole model is the first rank's, which is then the only one. */
    private boolean isDone(SharedJournal journal) {
        boolean tuned = refinement.tuneSteps() == 0
                || journal.own().flatMap(own -> TunedParameters.find(own.parts())).isPresent();
        return tuned && journal.finished() == run.model().blocks();
    }

    /** Finishes the remaining blocks, and tunes the whole model if the settings say so. */
    void run(SharedJournal journal) {
        if (isDone(journal)) {
            return;
        }
        boolean unfinished = journal.finished() < run.model().blocks();
        try (Saliency saliency = unfinished ? saliency(journal) : null;
                CalibrationStream quantized = embed();
                CalibrationStream original = refinement.followsOriginal() ? embed() : embedHeldOut();
                CalibrationStream plain = journal.finished() == 0 && run.ranks().isFirst()
                        ? embedHeldOut()
                        : null) {
            Streams streams = new Streams(quantized.activations(), original.activations(),
                    plain == null ? null : plain.activations(), calibration.length(),
                    run.partition(calibration));
            refine(journal,
                    new BlockRefiner(run.models(), run.calibrator().settings(), run.grids(), refinement, streams,
                            saliency, run.memory().experts(), phases));
            journal.own().ifPresent(own -> finish(own, streams));
        }
    }

    private void finish(RunJournal journal, Streams streams) {
        if (new SavedResults(journal.parts()).heldOutLosses().isEmpty()) {
            measure(journal, streams);
        }
        if (refinement.tuneSteps() > 0) {
            tune(journal, streams.original());
        }
    }

    private void refine(SharedJournal journal, BlockRefiner refiner) {
        int blocks = run.model().blocks();
        int first = journal.finished();
        try (Prefetch prefetch = run.models().prefetch(run.memory().placement().ahead())) {
            for (int block = 0; block < first; block++) {
                progress.enter("resume", "block " + (block + 1) + "/" + blocks);
                prefetch.wants(block);
                int finished = block;
                refiner.replay(block,
                        (weights, pass) -> journal.restored(finished, weights, packer, pass));
            }
            for (int block = first; block < blocks; block++) {
                progress.enter("load", "block " + (block + 1) + "/" + blocks);
                prefetch.wants(block);
                try (BlockRecorder recorder = run.record(journal, packer);
                        RefinedBlock refined = refiner.refine(block)) {
                    progress.enter("write");
                    progress.exchange(run.ranks());
                    if (recorder != null) {
                        refined.eachLinear(recorder::write);
                        recorder.finish(run.clock().phases(), refined.outcomes());
                    }
                }
            }
        }
    }

    private void measure(RunJournal journal, Streams streams) {
        progress.enter("validate", "whole model");
        HeldOutLosses losses = HeldOutLosses.of(run.models().first(), streams, calibration);
        progress.enter("write");
        new SavedResults(journal.parts()).save(losses, run.clock().phases());
    }

    private CalibrationStream embed() {
        return embed(calibration, run.partition(calibration));
    }

    /** Losses on the held-out sequences. */
    private CalibrationStream embedHeldOut() {
        TokenSequences heldOut = calibration.select(Refinement.heldOutOf(calibration.count()));
        return embed(heldOut, run.partition(calibration).ofHeldOut());
    }

    private CalibrationStream embed(TokenSequences sequences, Partition who) {
        progress.enter("load", "calibration");
        return CalibrationStream.embed(run.models(), sequences, who, run.memory().placement().place());
    }

    private @Nullable Saliency saliency(SharedJournal journal) {
        if (!refinement.weighTokens()) {
            return null;
        }
        long limit = run.memory().needs().hostLimit();
        SavedResults saved = journal.own().map(own -> new SavedResults(own.parts())).orElse(null);
        Saliency known = saved == null ? null : saved.saliency(run.model(), calibration, limit);
        if (run.ranks().broadcast(0, known == null ? 0 : 1)[0] == 1) {
            return Saliency.share(run.ranks(), known, run.model(), calibration.tokens(), limit);
        }
        progress.enter("gradients", "calibration");
        Saliency saliency = Saliency.capture(run.models(), calibration, refinement.labels(),
                run.memory().gradientLimits(),
                progress.part(progress.flops().gradients(calibration)));
        try {
            progress.enter("write");
            progress.exchange(run.ranks());
            if (saved != null) {
                saved.save(saliency, calibration, run.clock().phases());
            }
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
                List<LinearSpec> linears = run.grids().quantized(run.model().linears(blocks.size()));
                List<PackedLinear> packed = linears.stream()
                        .map(linear -> PackedLinearReader.read(linear.module(), file.tensors(), packer.config()))
                        .toList();
                blocks.add(new PackedBlock(linears, packed));
                for (int i = 0; i < linears.size(); i++) {
                    byModule.put(linears.get(i).module(), packed.get(i));
                }
            }
            Predicate<String> tuned = TunedParameters.tensors(run.model(), refinement);
            List<TensorSpec> specs = run.plan().recorded().stream().filter(spec -> tuned.test(spec.name())).toList();
            ModelTuner tuner = new ModelTuner(run.models().first(), refinement, phases);
            TunedParameters.record(journal.parts(), specs, module -> Objects.requireNonNull(byModule.get(module)),
                    sink -> tuner.tune(blocks, calibration, teacher,
                            RefineMemory.limits(run.memory().needs().hostLimit()),
                            sink),
                    run.clock());
        } finally {
            files.forEach(SafetensorsFile::close);
        }
    }
}
