package dev.optgptq.gptq.refine;

import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import java.util.SplittableRandom;

/**
 * The schedule of learning: the sequences of each step, and its rates with cosine decay to 0 (Loshchilov and Hutter
 * 2017, arXiv 1608.03983).
 *
 * @param steps how many
 * @param sequences those that may be learned from
 * @param batch sequences of a step
 * @param warmUp warm-up steps, over which the rates rise; 0 for none
 */
public record Schedule(int steps, int sequences, int batch, long seed, int warmUp) {

    /** Measured against 4 and 16: more than 8 sequences gained nothing. */
    public static final int BATCH = 8;

    private static final float BETA1 = 0.9f;
    private static final float BETA2 = 0.95f;
    private static final double EPSILON = 1e-8;

    public static Schedule of(int steps, int sequences, long seed) {
        return new Schedule(steps, sequences, Math.min(BATCH, sequences), seed, 0);
    }

    /**
     * The numbers of a step.
     *
     * @param rate before the schedule
     * @param terms number of terms summed in the loss whose mean is meant: Adam depends on a gradient's size only
     *     through its epsilon
     */
    public AdamStep adam(int step, double rate, double terms) {
        double risen = warmUp == 0 ? 1 : Math.min(1, (step + 1.0) / warmUp);
        double now = rate * risen * 0.5 * (1 + Math.cos(Math.PI * step / steps));
        return new AdamStep((float) now, BETA1, BETA2, (float) (EPSILON * terms), step + 1);
    }

    /** The sequences of every step, [steps, batch]: all of them in random order, repeated. */
    public int[][] order() {
        SplittableRandom random = new SplittableRandom(seed);
        int[] shuffled = new int[0];
        int at = 0;
        int[][] order = new int[steps][batch];
        for (int[] step : order) {
            for (int i = 0; i < batch; i++) {
                if (at == shuffled.length) {
                    shuffled = shuffled(sequences, random);
                    at = 0;
                }
                step[i] = shuffled[at++];
            }
        }
        return order;
    }

    /** The numbers below count, in random order. */
    public static int[] shuffled(int count, SplittableRandom random) {
        int[] all = new int[count];
        for (int i = 0; i < all.length; i++) {
            int j = random.nextInt(i + 1);
            all[i] = all[j];
            all[j] = i;
        }
        return all;
    }
}
