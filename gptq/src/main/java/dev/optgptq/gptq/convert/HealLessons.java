package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.Teacher;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.tune.Lessons;
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
    private int round = -1;
    private @Nullable TokenSequences windows;
    private @Nullable ActivationStore known;

    /**
     * How much there is to learn.
     *
     * @param batch windows of a step
     */
    record Extent(int steps, int batch) {}

    /**
     * @param original as for {@link Teacher}
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
        int batch = extent.batch;
        int steps = Math.max(1, ROUND_TOKENS / (batch * text.length()));
        int first = step / steps * steps;
        if (step / steps != round || windows == null || known == null) {
            close();
            round = step / steps;
            windows = windows(first * batch, Math.min(steps, extent.steps - first) * batch);
            known = outputs.apply(windows);
        }
        int[] which = IntStream.range(0, batch).map(i -> (step - first) * batch + i).toArray();
        return new Lesson(windows.select(which), new Teacher(original, known, which));
    }

    /** Windows of the endless row of them. */
    TokenSequences windows(int first, int count) {
        int length = text.length();
        int[] ids = new int[count * length];
        for (int i = 0; i < count; i++) {
            write(first + i, ids, i * length);
        }
        return new TokenSequences(ids, count, length);
    }

    private void write(int window, int[] target, int at) {
        int from = start(window);
        SplittableRandom random = new SplittableRandom(seed ^ GOLDEN * (window + 1L));
        target[at] = text.ids()[from];
        for (int i = 1; i < text.length(); i++) {
            boolean own = random.nextDouble() < OWN;
            target[at + i] = own ? draws.ids()[random.nextInt(draws.draws())][from + i] : text.ids()[from + i];
        }
    }

    /** Where a window begins in the text: a pass over it has one window less than the text, and begins anywhere in the first. */
    private int start(int window) {
        int each = Math.max(1, text.count() - 1);
        int pass = window / each;
        SplittableRandom random = new SplittableRandom(seed + pass);
        int shift = random.nextInt(text.count() > 1 ? text.length() : 1);
        return shift + Schedule.shuffled(each, random)[window % each] * text.length();
    }

    /** Frees what is known of the windows of some steps. */
    @Override
    public void close() {
        if (known != null) {
            known.close();
            known = null;
        }
    }
}
