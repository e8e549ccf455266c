package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.gradient.Labels;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.gptq.solve.Polish;
import java.util.stream.IntStream;

/**
 * The steps of gradient calibration beyond GPTQ with scale search; a block keeps those that help. Plain GPTQ uses only
 * the polishing, for every linear.
 *
 * @param weighTokens whether Hessians weight tokens by the loss's gradient
 * @param labels labels of that loss
 * @param propagate error propagation: whether blocks correct the errors of those before them
 * @param polish the polishing of a solution
 * @param tuneSteps steps of learned rounding in each block, and then of scales in the whole model; 0 for none
 * @param tuneNorms whether norms are learned together with the scales of the whole model; never without steps
 * @param seed of the order in which sequences are learned from
 */
public record Refinement(boolean weighTokens, Labels labels, boolean propagate, Polish polish, int tuneSteps,
        boolean tuneNorms, long seed) {

    /** The default of tuneNorms. */
    public static final boolean TUNES_NORMS = false;

    /** Everything but polishing and learning. */
    public static final Refinement DEFAULT = new Refinement(true, new NextToken(), true, 0, 0);

    /** Share of the calibration sequences that is held out, to validate every step. */
    private static final int HELD_OUT = 8;

    public Refinement {
        if (tuneSteps < 0) {
            throw new IllegalArgumentException("tuneSteps: expected at least 0, found " + tuneSteps);
        }
        tuneNorms = tuneNorms && tuneSteps > 0;
    }

    /**
     * Whether all sequences run through the original model beside the quantized one; otherwise only the held-out ones
     * do, for validation.
     */
    public boolean followsOriginal() {
        return propagate || tuneSteps > 0;
    }

    /** Solutions are left as they are. */
    public Refinement(boolean weighTokens, Labels labels, boolean propagate, int tuneSteps, long seed) {
        this(weighTokens, labels, propagate, Polish.NONE, tuneSteps, TUNES_NORMS, seed);
    }

    /** The same with polished solutions: scales refitted, codes moved by a number of sweeps. */
    public Refinement polished(boolean refitScales, int sweeps) {
        return new Refinement(weighTokens, labels, propagate, new Polish(refitScales, sweeps), tuneSteps, tuneNorms,
                seed);
    }

    /** The same with or without learning norms, if anything is learned. */
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

    /** The number of variants in which a block is solved. */
    public int variants(BlockSpec block) {
        return 1 + Variants.beyond(this, block, weighTokens).size() + polish.steps().size();
    }

    /** Number of sequences over all steps of one round of learning, with repetitions. */
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
