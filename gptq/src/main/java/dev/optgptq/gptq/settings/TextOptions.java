package dev.optgptq.gptq.settings;

import static dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind.GPTQ;
import static dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind.GRADIENT;
import static dev.optgptq.gptq.settings.SettingGroup.CALIBRATION;

import dev.optgptq.calibrate.data.Bos;
import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.DocumentForm;
import java.util.stream.Stream;

/** Settings for the texts of a run: where they are, and how they become tokens. */
public final class TextOptions {

    public static final SettingSpec<Repeated> TEXT = SettingSpec
            .of(CALIBRATION, "--calibration", "FILE[:WEIGHT]", Repeated.class)
            .help("Text like what the model will see: .txt, .jsonl, .json or .parquet. Repeatable; sequences are drawn in "
                    + "proportion to the weights, 1 where none is given.")
            .byDefault("WikiText-2, bundled", given -> Repeated.NONE)
            .readBy(GPTQ, GRADIENT)
            .value(run -> run.calibration().text());

    public static final SettingSpec<String> FIELD = SettingSpec.of(CALIBRATION, "--field", "NAME", String.class)
            .help("Where records have their text: a column, or keys with dots between them. A list of messages there goes "
                    + "through the model's chat template.")
            .byDefault(DocumentForm.DEFAULT.field())
            .where(TextOptions::hasRecords)
            .value(run -> run.calibration().text().form().field());

    public static final SettingSpec<Bos> BOS = SettingSpec.of(CALIBRATION, "--bos", "WHEN", Bos.class)
            .help("Beginning-of-sequence tokens. auto: before each document, if the model's tokenizer puts one there by "
                    + "itself. always: at the start of each sequence. never: none.")
            .byDefault(DocumentForm.DEFAULT.bos())
            .value(run -> run.calibration().text().form().bos());

    public static final SettingSpec<Boolean> PACK = SettingSpec.flag(CALIBRATION, "--pack")
            .help("Join documents in a sequence, with the end-of-sequence token after each; otherwise random sampling draws "
                    + "from documents that are long enough by themselves.")
            .readBy(GPTQ, GRADIENT)
            .where(TextOptions::hasRecords)
            .value(run -> run.calibration().text().form().pack());

    private TextOptions() {}

    private static boolean hasRecords(QuantizeSettings run) {
        return Stream.of(run.calibration().text(), run.evaluation().text()).flatMap(text -> text.paths().stream())
                .anyMatch(Corpus::holdsRecords);
    }

    /** The calibration text. UserError BAD_SETTING for a weight that cannot be. */
    public static Corpus calibration(GivenSettings given) {
        return Corpus.of(given.get(TEXT).values(), Corpus.Bundled.CALIBRATION,
                new DocumentForm(given.get(FIELD), given.get(BOS), given.get(PACK)));
    }

    /**
     * The text to compare by, in the same form.
     *
     * @param wanted whether anything is compared
     */
    public static Corpus evaluation(GivenSettings given, boolean wanted) {
        return calibration(given).evaluation(wanted ? given.find(SettingsTable.EVAL) : null);
    }
}
