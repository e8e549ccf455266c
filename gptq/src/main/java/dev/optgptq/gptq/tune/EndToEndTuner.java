package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.gradient.Teacher;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.gptq.refine.Phases;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Learns the scales of the whole quantized model, and where that is wanted its norms, its codes fixed, so that it predicts what
 * the original model predicts: the loss is the divergence of the two (E2E-QP of EfficientQAT, arXiv 2407.11062, with the
 * original model as the teacher). What diverges least on the held-out sequences, rounded as it would be stored, is kept;
 * learning ends early when it no longer helps there.
 */
final class EndToEndTuner {

    /** In shares of the scales. */
    private static final double SCALE_RATE = 0.001;
    /** In shares of the norms' weights. */
    private static final double NORM_RATE = 0.001;
    /** How often the held-out sequences are looked at, and after how many looks without gain learning ends. */
    static final int LOOKS = 8;
    private static final int PATIENCE = 3;

    private final Transformer model;
    private final Device device;
    private final TokenSequences text;
    private final ActivationStore teacher;
    private final Schedule schedule;
    private final GradientStream.Limits limits;
    private final Phases phases;

    /**
     * @param text the calibration sequences, the last of them held out
     * @param teacher the output of the original model's last block for all of them
     */
    EndToEndTuner(Transformer model, TokenSequences text, ActivationStore teacher, Schedule schedule,
            GradientStream.Limits limits, Phases phases) {
        this.model = model;
        this.device = model.device();
        this.text = text;
        this.teacher = teacher;
        this.schedule = schedule;
        this.limits = limits;
        this.phases = phases;
    }

    /** Leaves what is best as what the student kept. */
    StepOutcome tune(Student student) {
        phases.enter("tune scales");
        long started = System.nanoTime();
        int[] heldOut = IntStream.range(schedule.sequences(), text.count()).toArray();
        double before = divergence(student, heldOut);
        double best = before;
        int[][] order = schedule.order();
        int look = Math.max(1, schedule.steps() / LOOKS);
        int without = 0;
        int done = 0;
        while (done < order.length && without < PATIENCE) {
            learn(student, order[done], done);
            done++;
            if (done % look == 0 || done == order.length) {
                double found = divergence(student, heldOut);
                without = found < best ? 0 : without + 1;
                if (found < best) {
                    best = found;
                    student.keep();
                }
            }
        }
        return new StepOutcome(student.learnsNorms() ? "tuned scales and norms" : "tuned scales", -1, before, best,
                best < before, (System.nanoTime() - started) * 1e-9, done + " of " + order.length + " steps");
    }

    private void learn(Student student, int[] sequences, int step) {
        differentiate(student, sequences);
        student.step(schedule.adam(step, SCALE_RATE, 1), schedule.adam(step, NORM_RATE, 1));
    }

    /** Adds the gradients of the mean divergence over the predictions of those sequences. */
    void differentiate(Student student, int[] sequences) {
        TokenSequences batch = text.select(sequences);
        double predictions = Predictions.count(batch);
        stream(student, false, batch, sequences).run((float) (1 / predictions),
                new GradientStream.Listener() {
                    @Override
                    public void loss(long firstToken, Tensor losses) {
                        // only its gradient is wanted
                    }

                    @Override
                    public @Nullable Head headGradients(Head head, TensorArena arena) {
                        return student.zeroGradients(head, arena);
                    }

                    @Override
                    public BlockWeights gradients(BlockWeights block, TensorArena arena) {
                        return student.zeroGradients(block, arena);
                    }

                    @Override
                    public void headDone(Head gradients) {
                        student.add(gradients);
                    }

                    @Override
                    public void blockDone(BlockWeights gradients) {
                        student.add(gradients);
                    }
                });
        phases.learned(batch.tokens() * model.spec().blocks());
    }

    /** KL(original || student), the mean over the predictions of those sequences, in nats. */
    double divergence(Student student, int[] sequences) {
        TokenSequences heldOut = text.select(sequences);
        double[] sum = {0};
        stream(student, true, heldOut, sequences)
                .evaluate((firstToken,
                        losses) -> sum[0] += Predictions.sum(device, firstToken, losses, heldOut.length()));
        phases.forward(heldOut.tokens() * model.spec().blocks());
        return sum[0] / Predictions.count(heldOut);
    }

    private GradientStream stream(Student student, boolean stored, TokenSequences batch, int[] sequences) {
        return new GradientStream(model, student.weights(stored), batch, new Teacher(teacher, sequences), "tune",
                Progress.SILENT, limits);
    }
}
