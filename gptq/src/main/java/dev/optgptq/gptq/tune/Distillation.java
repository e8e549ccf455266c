package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.gradient.Teacher;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.tune.Lessons.Lesson;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * Knowledge distillation: the loss is KL(teacher || learner) of the next token (Hinton et al. 2015, arXiv 1503.02531).
 * The state with the smallest divergence on held-out sequences, rounded as stored, is kept; early stopping on the same
 * sequences. A step that leads to non-finite numbers is reverted.
 *
 * @param model that learns
 * @param original the teacher, where its head is not that of the model's directory; null where it is
 * @param text held-out sequences, and those that are learned from where no other lessons are given
 * @param teacher the output of the teacher's last block for all of them
 * @param limits batch limits
 */
public record Distillation(Transformer model, @Nullable Transformer original, TokenSequences text,
        ActivationStore teacher, GradientStream.Limits limits) {

    /** Maximum number of reverts. */
    private static final int MOST_REVERTS = 5;

    /**
     * When to validate, and when to stop.
     *
     * @param heldOut the held-out sequences
     * @param every steps between validations
     * @param patience validations without gain after which learning stops
     * @param returns whether a look that is worse than the beginning leads back to the best, with half the rates
     */
    public record Looks(int[] heldOut, int every, int patience, boolean returns) {
        public Looks {
            heldOut = heldOut.clone();
        }

        @Override
        public int[] heldOut() {
            return heldOut.clone();
        }
    }

    /**
     * State of the learning.
     *
     * @param done steps
     * @param before initial divergence on the held-out sequences
     * @param best smallest divergence so far
     * @param without validations since then
     * @param factor of the learner's rates, halved each time that it went astray
     * @param reverts how often its numbers were not finite
     */
    public record State(int done, double before, double best, int without, double factor, int reverts) {

        /** The same with these rates. */
        public State at(double newFactor) {
            return new State(done, before, best, without, newFactor, reverts);
        }

        State stepped() {
            return new State(done + 1, before, best, without, factor, reverts);
        }

        private State looked(double found) {
            return found < best
                    ? new State(done, before, found, 0, factor, reverts)
                    : new State(done, before, best, without + 1, factor, reverts);
        }

        private State reverted() {
            return new State(done + 1, before, best, without, factor / 2, reverts + 1);
        }
    }

    /** Receives the progress. */
    public interface Watcher {

        /** A step was taken; its loss is the mean divergence over its predictions, in nats. */
        default void stepped(int done, double loss) {
            // not followed
        }

        /** The held-out sequences were validated on. */
        default void looked(State state, double divergence) {
            // not followed
        }

        /** The numbers were not finite: learning resumes from the best state, with half the rates. */
        default void reverted(State state) {
            // not followed
        }

        /**
         * The held-out sequences diverge more than at first: learning resumes from the best state, with half the rates.
         */
        default void returned(State state) {
            // not followed
        }
    }

    /** The schedule's order of the text's own sequences. */
    public Lessons lessons(Schedule schedule) {
        int[][] order = schedule.order();
        return step -> lesson(order[step]);
    }

    private Lesson lesson(int[] sequences) {
        return new Lesson(text.select(sequences), new Teacher(original, null, teacher, sequences));
    }

    /** Validates before anything is learned. */
    public State begin(Learner learner, Looks looks) {
        double before = divergence(learner, looks.heldOut);
        return new State(0, before, before, 0, 1, 0);
    }

    /**
     * Tries rates on a short schedule of its own, and goes back to what was kept.
     *
     * @return the divergence on the held-out sequences after it; infinite where the numbers were not finite
     */
    public double probe(Learner learner, Schedule schedule, Lessons lessons, double factor, int[] heldOut) {
        boolean finite = true;
        for (int step = 0; step < schedule.steps() && finite; step++) {
            finite = Double.isFinite(differentiate(learner, lessons.of(step))) && learner.step(schedule, step, factor);
        }
        double found = finite ? divergence(learner, heldOut) : Double.POSITIVE_INFINITY;
        learner.revert();
        return Double.isNaN(found) ? Double.POSITIVE_INFINITY : found;
    }

    /**
     * Learns from the current state, and leaves the best one as the learner's kept state. UserError NUMERIC after too
     * many reverts.
     */
    public State learn(Learner learner, Schedule schedule, Lessons lessons, Looks looks, State from, Watcher watcher) {
        State state = from;
        while (state.done < schedule.steps() && state.without < looks.patience) {
            double loss = differentiate(learner, lessons.of(state.done));
            boolean moved = Double.isFinite(loss) && learner.step(schedule, state.done, state.factor);
            state = moved ? state.stepped() : reverted(learner, state, watcher);
            watcher.stepped(state.done, loss);
            if (state.done % looks.every == 0 || state.done == schedule.steps()) {
                state = looked(learner, looks, state, watcher);
            }
        }
        return state;
    }

    private State reverted(Learner learner, State state, Watcher watcher) {
        if (state.reverts == MOST_REVERTS) {
            throw new UserError(UserError.Code.NUMERIC, model.path() + ": learning led to numbers that are not finite "
                    + (MOST_REVERTS + 1) + " times, with ever lower rates; the text or the model is degenerate");
        }
        learner.revert();
        State next = state.reverted();
        watcher.reverted(next);
        return next;
    }

    private State looked(Learner learner, Looks looks, State state, Watcher watcher) {
        double found = divergence(learner, looks.heldOut);
        if (found < state.best) {
            learner.keep();
        }
        State next = state.looked(found);
        boolean astray = looks.returns && !(found <= state.before);
        if (astray) {
            learner.revert();
            next = next.at(next.factor / 2);
        }
        watcher.looked(next, found);
        if (astray) {
            watcher.returned(next);
        }
        return next;
    }

    /** Adds the gradients of the mean divergence over the predictions of those sequences; returns that. */
    double differentiate(Learner learner, int[] sequences) {
        return differentiate(learner, lesson(sequences));
    }

    private double differentiate(Learner learner, Lesson lesson) {
        TokenSequences batch = lesson.text();
        double predictions = Predictions.count(batch);
        double[] sum = {0};
        stream(learner, false, lesson).run((float) (1 / predictions), new GradientStream.Listener() {
            @Override
            public void loss(long firstToken, Tensor losses) {
                sum[0] += Predictions.sum(model.device(), firstToken, losses, batch.length());
            }

            @Override
            public @Nullable Head headGradients(Head head, TensorArena arena) {
                return learner.zeroGradients(head, arena);
            }

            @Override
            public BlockWeights gradients(BlockWeights block, TensorArena arena) {
                return learner.zeroGradients(block, arena);
            }

            @Override
            public void headDone(Head gradients) {
                learner.add(gradients);
            }

            @Override
            public void blockDone(BlockWeights gradients) {
                learner.add(gradients);
            }

            @Override
            public void embedded(Tensor ids, Tensor d) {
                learner.addEmbedded(ids, batch.length(), d);
            }
        });
        return sum[0] / predictions;
    }

    /** KL(teacher || learner), the mean over the predictions of those sequences, in nats, rounded as stored. */
    public double divergence(Learner learner, int[] sequences) {
        Lesson lesson = lesson(sequences);
        TokenSequences some = lesson.text();
        double[] sum = {0};
        stream(learner, true, lesson).evaluate(
                (firstToken, losses) -> sum[0] += Predictions.sum(model.device(), firstToken, losses, some.length()));
        return sum[0] / Predictions.count(some);
    }

    private GradientStream stream(Learner learner, boolean stored, Lesson lesson) {
        Transformer runs = stored ? model : model.withProducts(learner.products());
        return new GradientStream(runs, learner.weights(stored), lesson.text(), lesson.teacher(), "tune",
                Progress.SILENT, limits);
    }
}
