package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.gptq.refine.Phases;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.refine.StepOutcome;
import java.util.stream.IntStream;

/**
 * Learns the scales of the whole quantized model, and optionally its norms, with fixed codes, by distillation from the
 * original model (E2E-QP of EfficientQAT, arXiv 2407.11062, with the original model as the teacher). The state with the
 * smallest divergence on the held-out sequences, rounded as stored, is kept; early stopping on the same sequences.
 */
final class EndToEndTuner {

    /** Number of validations, and how many without gain stop the learning. */
    static final int LOOKS = 8;
    private static final int PATIENCE = 3;

    private final Transformer model;
    private final TokenSequences text;
    private final Distillation distillation;
    private final Schedule schedule;
    private final Phases phases;

    /**
     * @param text the calibration sequences, the last of them held out
     * @param teacher the output of the original model's last block for all of them
     */
    EndToEndTuner(Transformer model, TokenSequences text, ActivationStore teacher, Schedule schedule,
            GradientStream.Limits limits, Phases phases) {
        this.model = model;
        this.text = text;
        this.distillation = new Distillation(model, null, text, teacher, limits);
        this.schedule = schedule;
        this.phases = phases;
    }

    /** Leaves the best state as the student's kept state. */
    StepOutcome tune(Student student) {
        phases.enter("tune scales");
        long started = System.nanoTime();
        int[] heldOut = IntStream.range(schedule.sequences(), text.count()).toArray();
        Distillation.Looks looks = new Distillation.Looks(heldOut, Math.max(1, schedule.steps() / LOOKS), PATIENCE,
                false);
        Distillation.State begun = distillation.begin(student, looks);
        phases.forward(tokens(heldOut.length));
        Distillation.State end = distillation.learn(student, schedule, distillation.lessons(schedule), looks, begun,
                new Distillation.Watcher() {
                    @Override
                    public void stepped(int done, double loss) {
                        phases.learned(tokens(schedule.batch()));
                    }

                    @Override
                    public void looked(Distillation.State state, double divergence) {
                        phases.forward(tokens(heldOut.length));
                    }
                });
        return new StepOutcome(student.learnsNorms() ? "tuned scales and norms" : "tuned scales", -1, end.before(),
                end.best(), end.best() < end.before(), (System.nanoTime() - started) * 1e-9,
                end.done() + " of " + schedule.steps() + " steps");
    }

    private long tokens(int sequences) {
        return (long) sequences * text.length() * model.spec().blocks();
    }

    /** Adds the gradients of the mean divergence over the predictions of those sequences. */
    void differentiate(Student student, int[] sequences) {
        distillation.differentiate(student, sequences);
    }

    /** KL(original || student), the mean over the predictions of those sequences, in nats. */
    double divergence(Student student, int[] sequences) {
        return distillation.divergence(student, sequences);
    }
}
