package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.gptq.refine.Phases;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.refine.StepOutcome;
import java.util.List;

/** Learns the scales of a whole quantized model together, and optionally its norms. */
public final class ModelTuner {

    /** Approximate number of validations. */
    public static final int LOOKS = EndToEndTuner.LOOKS;

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
     * @param limits batch limits
     * @param tuned receives the scales of every linear and, if they are learned, all norms; the initial ones if nothing
     *     helped
     */
    public StepOutcome tune(List<PackedBlock> blocks, TokenSequences text, ActivationStore teacher,
            GradientStream.Limits limits, TunedSink tuned) {
        int trained = text.count() - Refinement.heldOut(text.count());
        Schedule schedule = Schedule.of(refinement.tuneSteps(), trained, refinement.seed() - 1);
        try (Student student = new Student(model, blocks, refinement.tuneNorms())) {
            StepOutcome outcome = new EndToEndTuner(model, text, teacher, schedule, limits, phases).tune(student);
            student.kept(tuned);
            return outcome;
        }
    }
}
