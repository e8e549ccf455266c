package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.calibrate.model.Transformer;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.BiConsumer;

/** Learns the scales of a whole quantized model together. */
public final class ModelTuner {

    /** How often the held-out sequences are looked at, about. */
    public static final int LOOKS = ScaleTuner.LOOKS;

    private final Transformer model;
    private final Refinement refinement;
    private final Phases phases;

    public ModelTuner(Transformer model, Refinement refinement, Phases phases) {
        this.model = model;
        this.refinement = refinement;
        this.phases = phases;
    }

    /**
     * Learns them.
     *
     * @param blocks all of the quantized model
     * @param text the calibration sequences
     * @param teacher the output of the original model's last block for them
     * @param limits how much of a batch is done at once
     * @param tuned takes the scales of every linear, F16 [G, out], valid during the call; those given where nothing helped
     */
    public StepOutcome tune(List<PackedBlock> blocks, TokenSequences text, ActivationStore teacher,
            GradientStream.Limits limits, BiConsumer<LinearSpec, MemorySegment> tuned) {
        int trained = text.count() - Refinement.heldOut(text.count());
        Schedule schedule = Schedule.of(refinement.tuneSteps(), trained, refinement.seed() - 1);
        try (Student student = new Student(model, blocks)) {
            StepOutcome outcome = new ScaleTuner(model, text, teacher, schedule, limits, phases).tune(student);
            student.kept(tuned);
            return outcome;
        }
    }
}
