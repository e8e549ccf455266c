package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.Teacher;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.tune.Lessons;
import dev.optgptq.kernels.TensorArena;
import java.util.SplittableRandom;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Windows of a text for each step of healing, no two alike: every pass over the text cuts it at other places, and some of the tokens
 * are what the original might have written there. So a short text does not run out, and the original's predictions are learned
 * where it was not trained itself. The original runs over the windows of some steps at a time.
 *
 * @see TokenDraws
 */
final class HealLessons implements Lessons, AutoCloseable {

    /** Share of the tokens that are the original's own. Measured: 0.3 and 0.6 heal alike, none heals much less. */
    private static final double OWN = 0.3;
    /** Tokens that the original runs over at a time. */
    static final int ROUND_TOKENS = 1 << 18;
    private static final long GOLDEN = 0x9E3779B97F4A7C15L;

    private final @Nullable Transformer original;
    private final TokenSequences text;
    private final TokenDraws draws;
    private final Function<TokenSequences, ActivationStore> outputs;
    private final Extent extent;
    private final long seed;
    private @Nullable Round round;
    private @Nullable TensorArena ofHead;
    private @Nullable Head head;

    /**
     * How much there is to learn.
     *
     * @param batch windows of a step
     * @param tried first steps that are taken again and again, so that the original runs over all of them at a time
     */
    record Extent(int steps, int batch, int tried) {

        /** Steps of a round. */
        private int together(int length) {
            return Math.max(tried, ROUND_TOKENS / (batch * length));
        }
    }

    /**
     * What the original makes of the windows of some steps.
     *
     * @param first of the steps
     * @param outputs of the original's last block
     */
    private record Round(int first, TokenSequences windows, ActivationStore outputs) {}

    /**
     * @param original as for {@link Teacher}, with the products of its head
     * @param text to learn from, in order
     * @param outputs of the original's last block
     */
    HealLessons(@Nullable Transformer original, TokenSequences text, TokenDraws draws,
            Function<TokenSequences, ActivationStore> outputs, Extent extent, long seed) {
        this.original = original;
        this.text = text;
        this.draws = draws;
        this.outputs = outputs;
        this.extent = extent;
        this.seed = seed;
    }

    @Override
    public Lesson of(int step) {
        int together = extent.together(text.length());
        int first = step / together * together;
        Round known = round;
        if (known == null || known.first != first) {
            forget();
            TokenSequences windows = windows(first * extent.batch,
                    Math.min(together, extent.steps - first) * extent.batch);
            known = new Round(first, windows, outputs.apply(windows));
            round = known;
        }
        int[] which = IntStream.range(0, extent.batch).map(i -> (step - first) * extent.batch + i).toArray();
        return new Lesson(known.windows.select(which), new Teacher(original, head(), known.outputs, which));
    }

    /** The original's, which stays on the device for all steps; null where it is the learner's. */
    private @Nullable Head head() {
        if (head == null && original != null) {
            ofHead = original.device().arena();
            head = original.loadHead(ofHead);
        }
        return head;
    }

    /** Windows of the endless row of them. */
    TokenSequences windows(int first, int count) {
        int length = text.length();
        int[] ids = new int[count * length];
        Pass pass = pass(first);
        for (int i = 0; i < count; i++) {
            int window = first + i;
            pass = pass.has(window) ? pass : pass(window);
            write(window, pass.start(window, length), ids, i * length);
        }
        return new TokenSequences(ids, count, length);
    }

    private void write(int window, int from, int[] target, int at) {
        SplittableRandom random = new SplittableRandom(seed ^ GOLDEN * (window + 1L));
        target[at] = text.ids()[from];
        for (int i = 1; i < text.length(); i++) {
            boolean own = random.nextDouble() < OWN;
            target[at + i] = own ? draws.ids()[random.nextInt(draws.draws())][from + i] : text.ids()[from + i];
        }
    }

    /**
     * A pass over the text.
     *
     * @param first of its windows
     * @param shift of all of them
     * @param order of its windows: it has one less than the text, and begins anywhere in the first
     */
    private record Pass(int first, int shift, int[] order) {

        private boolean has(int window) {
            return window - first < order.length;
        }

        /** Where a window begins in the text. */
        private int start(int window, int length) {
            return shift + order[window - first] * length;
        }
    }

    /** The pass that has a window. */
    private Pass pass(int window) {
        int each = Math.max(1, text.count() - 1);
        int pass = window / each;
        SplittableRandom random = new SplittableRandom(seed + pass);
        int shift = random.nextInt(text.count() > 1 ? text.length() : 1);
        return new Pass(pass * each, shift, Schedule.shuffled(each, random));
    }

    private void forget() {
        if (round != null) {
            round.outputs.close();
            round = null;
        }
    }

    @Override
    public void close() {
        forget();
        if (ofHead != null) {
            ofHead.close();
            ofHead = null;
            head = null;
        }
    }
}
