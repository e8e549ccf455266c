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
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * Learning to predict what another model predicts: the loss is KL(teacher || learner) of the next token (Hinton et al. 2015,
 * arXiv 1503.02531). What diverges least on held-out sequences, rounded as it would be stored, is kept; learning ends early
 * when it no longer helps there. A step that leads to numbers that are not finite is taken back.
 *
 * @param model whose head the teacher's logits are computed with
 * @param text the sequences
 * @param teacher the output of the teacher's last block for all of them
 * @param limits how much is done at once
 */
public record Distillation(Transformer model, TokenSequences text, ActivationStore teacher,
        GradientStream.Limits limits) {

    /** How often learning may go astray. */
    private static final int MOST_REVERTS = 5;

    /**
     * When to look at the held-out sequences, and when to stop.
     *
     * @param heldOut which they are
     * @param every so many steps
     * @param patience looks without gain after which learning ends
     */
    public record Looks(int[] heldOut, int every, int patience) {
        public Looks {
            heldOut = heldOut.clone();
        }

        @Override
        public int[] heldOut() {
            return heldOut.clone();
        }
    }

    /**
     * How far learning has come.
     *
     * @param done steps
     * @param before divergence on the held-out sequences at first
     * @param best the least that was seen
     * @param without looks since then
     * @param reverts how often it went astray
     */
    public record State(int done, double before, double best, int without, int reverts) {

        /** Rates are halved each time. */
        double factor() {
            return Math.pow(0.5, reverts);
        }
    }

    /** Hears how it goes. */
    public interface Watcher {

        /** A step was taken; its loss is the mean divergence over its predictions, in nats. */
        default void stepped(int done, double loss) {
            // not followed
        }

        /** The held-out sequences were looked at. */
        default void looked(State state, double divergence) {
            // not followed
        }

        /** The numbers were not finite: the best that was kept is gone on from, with lower rates. */
        default void reverted(State state) {
            // not followed
        }
    }

    /** Looks at the held-out sequences before anything is learned. */
    public State begin(Learner learner, Looks looks) {
        double before = divergence(learner, looks.heldOut);
        return new State(0, before, before, 0, 0);
    }

    /** Learns from where it is, and leaves what is best as what the learner kept. UserError NUMERIC where it keeps going astray. */
    public State learn(Learner learner, Schedule schedule, Looks looks, State from, Watcher watcher) {
        int[][] order = schedule.order();
        State state = from;
        while (state.done < order.length && state.without < looks.patience) {
            double loss = differentiate(learner, order[state.done]);
            boolean moved = Double.isFinite(loss) && learner.step(schedule, state.done, state.factor());
            state = moved ? stepped(state) : reverted(learner, state, watcher);
            watcher.stepped(state.done, loss);
            if (state.done % looks.every == 0 || state.done == order.length) {
                state = looked(learner, looks, state, watcher);
            }
        }
        return state;
    }

    private static State stepped(State state) {
        return new State(state.done + 1, state.before, state.best, state.without, state.reverts);
    }

    private State reverted(Learner learner, State state, Watcher watcher) {
        if (state.reverts == MOST_REVERTS) {
            throw new UserError(UserError.Code.NUMERIC, model.path() + ": learning led to numbers that are not finite "
                    + (MOST_REVERTS + 1) + " times, with ever lower rates; the text or the model is degenerate");
        }
        learner.revert();
        State next = new State(state.done + 1, state.before, state.best, state.without, state.reverts + 1);
        watcher.reverted(next);
        return next;
    }

    private State looked(Learner learner, Looks looks, State state, Watcher watcher) {
        double found = divergence(learner, looks.heldOut);
        boolean better = found < state.best;
        if (better) {
            learner.keep();
        }
        State next = new State(state.done, state.before, better ? found : state.best, better ? 0 : state.without + 1,
                state.reverts);
        watcher.looked(next, found);
        return next;
    }

    /** Adds the gradients of the mean divergence over the predictions of those sequences; returns that. */
    double differentiate(Learner learner, int[] sequences) {
        TokenSequences batch = text.select(sequences);
        double predictions = Predictions.count(batch);
        double[] sum = {0};
        stream(learner, false, batch, sequences).run((float) (1 / predictions), new GradientStream.Listener() {
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

    /** KL(teacher || learner), the mean over the predictions of those sequences, in nats, as it would be stored. */
    double divergence(Learner learner, int[] sequences) {
        TokenSequences some = text.select(sequences);
        double[] sum = {0};
        stream(learner, true, some, sequences).evaluate(
                (firstToken, losses) -> sum[0] += Predictions.sum(model.device(), firstToken, losses, some.length()));
        return sum[0] / Predictions.count(some);
    }

    private GradientStream stream(Learner learner, boolean stored, TokenSequences batch, int[] sequences) {
        return new GradientStream(model, learner.weights(stored), batch, new Teacher(teacher, sequences), "tune",
                Progress.SILENT, limits);
    }
}
