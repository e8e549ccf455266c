package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.ConvertSettings.Heal;
import dev.optgptq.gptq.convert.RateTrials.Trial;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.tune.Distillation;
import dev.optgptq.gptq.tune.WeightStudent;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ObjectNode;

/**
 * Compares two beginnings of a model with ALiBi: by what a few steps of healing make of each, or, where it is not to be healed, as
 * they are.
 *
 * @param heal null where it is not
 */
record PositionStarts(TeacherText text, @Nullable Heal heal, Progress progress, Consumer<String> log) {

    static final String PLAIN = "plain";
    static final String FITTED = "fitted";

    /** @param fitted the changed tensors of the fitted start */
    ConvertReport.Positions choose(String from, ModelDirectory base, List<Part> fitted,
            List<ConvertReport.PositionLayer> layers) {
        RateTrials trials = heal == null ? null : new RateTrials(text, heal, progress, log);
        try (HealLessons lessons = trials == null ? null : trials.lessons()) {
            double ofPlain = divergence("standard slopes", base, List.of(), lessons);
            double ofFitted = divergence("fitted layers", base, fitted, lessons);
            return new ConvertReport.Positions(from, ofFitted < ofPlain ? FITTED : PLAIN, ofPlain, ofFitted,
                    trials == null ? 0 : trials.steps(), List.copyOf(layers));
        }
    }

    private double divergence(String what, ModelDirectory base, List<Part> parts, @Nullable HealLessons lessons) {
        Heal settings = heal;
        ObjectNode config = (ObjectNode) base.config().json().deepCopy();
        try (ConvertedModel candidate = new ConvertedModel(base, config, parts);
                ModelDirectory directory = candidate.directory()) {
            Transformer student = Transformer.open(directory, text.original().device());
            progress.at("comparing starts, " + what, 0, 1);
            try (WeightStudent learner = new WeightStudent(student, text.products(),
                    name -> directory.tensor(name).dtype(),
                    settings == null ? WeightStudent.Scope.ATTENTION : settings.scope(),
                    settings == null ? 0 : settings.decay())) {
                Distillation distillation = text.distillation(student, learner.learnedBytes());
                if (settings == null || lessons == null) {
                    return distillation.divergence(learner, text.heldOut());
                }
                Trial best = RateTrials.best(new RateTrials(text, settings, progress,
                        line -> log.accept(what + ": " + line)).run(distillation, learner, lessons));
                return best.divergence() == null ? Double.MAX_VALUE : best.divergence();
            }
        }
    }
}
