package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.gptq.convert.ConvertSettings.Heal;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.tune.Distillation;
import dev.optgptq.gptq.tune.WeightStudent;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * What a short schedule makes of the held-out text with each rate. Too large a rate undoes what merging kept, and how large that
 * is differs twentyfold between models. Rates fall until one heals less than the one before.
 */
record RateTrials(TeacherText text, Heal settings, Progress progress, Consumer<String> log) {

    private static final int WARM_UP = 20;
    /** Each rate is tried for one of so many steps, and no longer than is needed to tell. */
    private static final int SHARE = 25;
    private static final int LONGEST = 40;

    /**
     * A rate that was tried.
     *
     * @param divergence KL(original || it) on the held-out sequences; null where it was not finite
     */
    record Trial(double rate, @Nullable Double divergence) {}

    Schedule schedule(int steps) {
        return new Schedule(steps, text.tokens().trained(), settings.batch(), settings.seed(),
                Math.min(WARM_UP, Math.max(1, steps / 5)));
    }

    /** Of all steps of healing, of which trials see the first. The caller closes them. */
    HealLessons lessons() {
        return text.lessons(new HealLessons.Extent(settings.steps(), settings.batch(), steps()), settings.seed());
    }

    /** That each rate is tried for. */
    int steps() {
        return Math.clamp(settings.steps() / SHARE, 1, LONGEST);
    }

    /**
     * Tries them; the learner is then as it was.
     *
     * @param lessons those of all steps, which keep what the original makes of the first for whoever learns them next
     */
    List<Trial> run(Distillation distillation, WeightStudent learner, HealLessons lessons) {
        Double given = settings.rate();
        List<Trial> trials = new ArrayList<>();
        double last = Double.POSITIVE_INFINITY;
        Schedule schedule = schedule(steps());
        for (double rate : given == null ? settings.rates() : List.of(given)) {
            progress.at(String.format(Locale.ROOT, "healing, trying rate %.0e", rate), 0, settings.steps());
            double found = distillation.probe(learner, schedule, lessons, rate, text.heldOut());
            trials.add(new Trial(rate, Double.isFinite(found) ? found : null));
            log.accept(String.format(Locale.ROOT, "healing, rate %.0e: divergence %.5f after %d steps", rate, found,
                    steps()));
            if (found > last) {
                break;
            }
            last = found;
        }
        return List.copyOf(trials);
    }

    /** The rate that healed most; the least one where none gave finite numbers. */
    static Trial best(List<Trial> trials) {
        return trials.stream().filter(trial -> trial.divergence() != null)
                .min(Comparator.comparingDouble(trial -> Objects.requireNonNull(trial.divergence())))
                .orElse(trials.getLast());
    }
}
