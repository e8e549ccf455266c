package dev.optgptq.gptq.settings;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.DocumentTokens;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.kernels.ranks.Ranks;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * The tokens of a run, read before anything is computed so that a bad text fails at once.
 *
 * @param calibration null when the calibrator needs none
 * @param evaluation null when nothing is evaluated
 * @param evaluationName for people
 */
public record RunTexts(@Nullable TokenSequences calibration, @Nullable TokenSequences evaluation,
        String evaluationName) {

    public static RunTexts read(QuantizeSettings settings, ModelSpec model) {
        boolean calibrates = settings.solving().calibrator() != CalibratorKind.RTN;
        if (!calibrates && !settings.evaluation().wanted()) {
            return new RunTexts(null, null, "none");
        }
        try (Tokenizer tokenizer = Tokenizer.load(settings.model())) {
            TokenSequences calibration = calibrates ? calibration(settings, tokenizer) : null;
            TokenSequences evaluation = settings.evaluation().wanted() ? evaluation(settings, tokenizer, model) : null;
            for (TokenSequences tokens : new TokenSequences[] {calibration, evaluation}) {
                if (tokens != null) {
                    tokens.requireVocabulary(model.vocabSize());
                }
            }
            Corpus text = settings.evaluation().text();
            return new RunTexts(calibration, evaluation,
                    text.isBundled() ? "the bundled evaluation text" : text.toString());
        }
    }

    /** The texts that the first rank reads, on every rank. */
    public static RunTexts read(QuantizeSettings settings, ModelSpec model, Ranks ranks) {
        if (!ranks.areSeveral()) {
            return read(settings, model);
        }
        RunTexts first = ranks.isFirst() ? read(settings, model) : new RunTexts(null, null, "");
        return new RunTexts(share(ranks, first.calibration), share(ranks, first.evaluation),
                ranks.exchange(first.evaluationName).getFirst());
    }

    private static @Nullable TokenSequences share(Ranks ranks, @Nullable TokenSequences first) {
        long[] shape = first == null ? new long[2] : new long[] {first.count(), first.length()};
        shape = ranks.broadcast(0, shape);
        if (shape[0] == 0) {
            return null;
        }
        int[] ids = first == null ? new int[Math.toIntExact(shape[0] * shape[1])] : first.ids();
        ranks.broadcast(0, MemorySegment.ofArray(ids));
        return new TokenSequences(ids, Math.toIntExact(shape[0]), Math.toIntExact(shape[1]));
    }

    private static TokenSequences calibration(QuantizeSettings settings, Tokenizer tokenizer) {
        CalibrationSettings from = settings.calibration();
        return from.text().sample(DocumentTokens.of(settings.model(), tokenizer, from.text().form()), from.sampling(),
                from.samples(), from.sequenceLength(), from.seed());
    }

    private static TokenSequences evaluation(QuantizeSettings settings, Tokenizer tokenizer, ModelSpec model) {
        Corpus text = settings.evaluation().text();
        return text.windows(DocumentTokens.of(settings.model(), tokenizer, text.form()),
                Math.min(settings.evaluation().window(), model.maxPositions()));
    }
}
