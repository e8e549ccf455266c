package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.gradient.Labels;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.gptq.solve.Polish;
import java.util.stream.IntStream;

/**
 * What gradient calibration tries beyond GPTQ with searched scales; a block keeps what helps it. Of it, plain GPTQ does what
 * polishes a solution, to every linear.
 *
 * @param weighTokens whether Hessians weigh tokens by the loss's gradient
 * @param labels what that loss asks of the model
 * @param propagate whether blocks make up for the errors of those before them
 * @param polish what is done to a solution afterwards
 * @param tuneSteps steps of learned rounding in each block, and then of scales in the whole model; 0 for none
 * @param tuneNorms whether norms are learned with the scales of the whole model; never without steps
 * @param seed of the order in which sequences are learned from
 */
public record Refinement(boolean weighTokens, Labels labels, boolean propagate, Polish polish, int tuneSteps,
        boolean tuneNorms, long seed) {

    /** Whether norms are learned where nothing is said about it. */
    public static final boolean TUNES_NORMS = false;

    /** Everything but polishing and learning. */
    public static final Refinement DEFAULT = new Refinement(true, new NextToken(), true, 0, 0);

    /** Share of the calibration sequences that nothing is computed from, and every step is judged on. */
    private static final int HELD_OUT = 8;

    public Refinement {
        if (tuneSteps < 0) {
            throw new IllegalArgumentException("tuneSteps: expected at least 0, found " + tuneSteps);
        }
        tuneNorms = tuneNorms && tuneSteps > 0;
    }

    /**
     * Whether all sequences are run through the original model beside the quantized one; otherwise only those that are
     * held out are, to judge by.
     */
    public boolean followsOriginal() {
        return propagate || tuneSteps > 0;
    }

    /** Solutions are left as they are. */
    public Refinement(boolean weighTokens, Labels labels, boolean propagate, int tuneSteps, long seed) {
        this(weighTokens, labels, propagate, Polish.NONE, tuneSteps, TUNES_NORMS, seed);
    }

    /** The same, solutions being polished: their scales refitted, their codes moved by so many sweeps. */
    public Refinement polished(boolean refitScales, int sweeps) {
        return new Refinement(weighTokens, labels, propagate, new Polish(refitScales, sweeps), tuneSteps, tuneNorms,
                seed);
    }

    /** The same, norms being learned or not where anything is. */
    public Refinement tuningNorms(boolean norms) {
        return new Refinement(weighTokens, labels, propagate, polish, tuneSteps, norms, seed);
    }

    /** Whether scales are refitted to the codes. */
    public boolean refitScales() {
        return polish.refitScales();
    }

    /** Sweeps of coordinate descent over the codes. */
    public int descentSweeps() {
        return polish.sweeps();
    }

    /** In how many ways a block is solved. */
    public int variants(BlockSpec block) {
        return 1 + Variants.beyond(this, block, weighTokens).size() + polish.steps().size();
    }

    /** How many sequences all steps of one round of learning see, each as often as it is seen. */
    public double learnedSequences(int trained) {
        return (double) tuneSteps * Math.min(Schedule.BATCH, trained);
    }

    /** How many of the calibration sequences are held out: the last ones. At least one, of at least two. */
    public static int heldOut(int sequences) {
        return Math.max(1, sequences / HELD_OUT);
    }

    /** Which ones, counted from 0. */
    public static int[] heldOutOf(int sequences) {
        return IntStream.range(sequences - heldOut(sequences), sequences).toArray();
    }
}
