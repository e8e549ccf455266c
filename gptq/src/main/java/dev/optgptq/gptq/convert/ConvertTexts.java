package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.data.BundledText;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.gptq.convert.ConvertSettings.Calibration;
import dev.optgptq.gptq.convert.ConvertSettings.Evaluation;
import dev.optgptq.gptq.convert.ConvertSettings.Heal;
import java.nio.file.Path;
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
            TokenSequences calibration = wanted.text() == null
                    ? TokenSequences.sample(BundledText.calibration(), "the bundled calibration text", tokenizer,
                            wanted.sampling(), wanted.samples(), wanted.length(), wanted.seed())
                    : TokenSequences.sample(wanted.text(), tokenizer, wanted.sampling(), wanted.samples(),
                            wanted.length(), wanted.seed());
            calibration.requireVocabulary(spec.vocabSize());
            HealTokens heal = healTokens(settings, tokenizer);
            if (heal != null) {
                heal.text().requireVocabulary(spec.vocabSize());
            }
            if (evaluation == null) {
                return new ConvertTexts(calibration, heal, null, "none");
            }
            int window = Math.min(evaluation.window(), spec.maxPositions());
            TokenSequences windows = evaluation.text() == null
                    ? TokenSequences.windows(BundledText.evaluation(), "the bundled evaluation text", tokenizer,
                            window)
                    : TokenSequences.windows(evaluation.text(), tokenizer, window);
            windows.requireVocabulary(spec.vocabSize());
            return new ConvertTexts(calibration, heal, windows, evaluation.text() == null
                    ? "the bundled evaluation text"
                    : evaluation.text().toString());
        }
    }

    private static @Nullable HealTokens healTokens(ConvertSettings settings, Tokenizer tokenizer) {
        Heal heal = settings.heal();
        if (heal == null) {
            return null;
        }
        Path text = heal.text() == null ? settings.calibration().text() : heal.text();
        return HealTokens.of(text == null
                ? TokenSequences.windows(BundledText.calibration(), "the bundled calibration text", tokenizer,
                        heal.length())
                : TokenSequences.windows(text, tokenizer, heal.length()));
    }

    /** What is healed with, or else a quarter of the calibration text to compare by. */
    HealTokens held() {
        int count = calibration.count();
        return heal != null ? heal : new HealTokens(calibration, count - Math.max(1, count / 4));
    }
}
