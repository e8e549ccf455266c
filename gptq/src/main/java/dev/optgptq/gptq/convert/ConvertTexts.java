package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.DocumentTokens;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.gptq.convert.ConvertSettings.Calibration;
import dev.optgptq.gptq.convert.ConvertSettings.Evaluation;
import dev.optgptq.gptq.convert.ConvertSettings.Heal;
import org.jspecify.annotations.Nullable;

/**
 * The tokens, read before anything is computed so that a bad text fails at once.
 *
 * @param heal null without healing
 * @param evaluation null without evaluation
 * @param evaluationName for people
 */
record ConvertTexts(TokenSequences calibration, @Nullable HealTokens heal, @Nullable TokenSequences evaluation,
        String evaluationName) {

    /** Reads all that the settings name. Throws UserError BAD_TEXT, also for tokens that the model does not know. */
    static ConvertTexts read(ConvertSettings settings, ModelSpec spec) {
        Calibration wanted = settings.calibration();
        Evaluation evaluation = settings.evaluation();
        try (Tokenizer tokenizer = Tokenizer.load(settings.model())) {
            DocumentTokens tokens = DocumentTokens.of(settings.model(), tokenizer, wanted.text().form());
            TokenSequences calibration = wanted.text().sample(tokens, wanted.sampling(), wanted.samples(),
                    wanted.length(), wanted.seed());
            calibration.requireVocabulary(spec.vocabSize());
            HealTokens heal = healTokens(settings, tokens);
            if (heal != null) {
                heal.windows().requireVocabulary(spec.vocabSize());
            }
            if (evaluation == null) {
                return new ConvertTexts(calibration, heal, null, "none");
            }
            int window = Math.min(evaluation.window(), spec.maxPositions());
            Corpus text = wanted.text().evaluation(evaluation.text());
            TokenSequences windows = text.windows(tokens, window);
            windows.requireVocabulary(spec.vocabSize());
            return new ConvertTexts(calibration, heal, windows,
                    text.isBundled() ? "the bundled evaluation text" : text.toString());
        }
    }

    private static @Nullable HealTokens healTokens(ConvertSettings settings, DocumentTokens tokens) {
        Heal heal = settings.heal();
        if (heal == null) {
            return null;
        }
        Corpus calibration = settings.calibration().text();
        Corpus text = heal.text() == null
                ? calibration
                : Corpus.of(heal.text(), Corpus.Bundled.CALIBRATION, calibration.form());
        return HealTokens.of(text.windows(tokens, heal.length()));
    }

    /** What is healed with, or else a quarter of the calibration text to compare by. */
    HealTokens held() {
        int count = calibration.count();
        return heal != null ? heal : new HealTokens(calibration, count - Math.max(1, count / 4));
    }
}
