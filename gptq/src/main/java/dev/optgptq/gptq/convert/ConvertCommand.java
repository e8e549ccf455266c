package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.data.DocumentForm;
import dev.optgptq.gptq.convert.ConvertSettings.Calibration;
import dev.optgptq.gptq.convert.ConvertSettings.Evaluation;
import dev.optgptq.gptq.convert.ConvertSettings.Heal;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.SequencedMap;

/** The settings of a conversion by the names of the command line's options, for its report. */
final class ConvertCommand {

    private final SequencedMap<String, String> options = new LinkedHashMap<>();

    private ConvertCommand() {}

    static SequencedMap<String, String> of(ConvertSettings settings) {
        ConvertCommand command = new ConvertCommand();
        Heads heads = settings.heads();
        command.options.put(heads.option(), heads.words());
        command.put("--grouping", settings.grouping());
        command.put("--positions", settings.positions());
        command.put("--layout", settings.form());
        if (settings.force()) {
            command.put("--force", true);
        }
        Heal heal = settings.heal();
        if (heal != null) {
            command.add(heal);
        }
        command.add(settings.calibration());
        Evaluation evaluation = settings.evaluation();
        if (evaluation == null) {
            command.put("--eval", "none");
        } else {
            command.put("--eval", settings.calibration().text().evaluation(evaluation.text()));
            command.put("--window", evaluation.window());
        }
        return command.options;
    }

    private void add(Heal heal) {
        put("--heal", heal.steps());
        if (heal.text() != null) {
            put("--text", heal.text());
        }
        put("--heal-scope", heal.scope());
        if (heal.rate() != null) {
            put("--heal-rate", heal.rate());
        }
        put("--weight-decay", heal.decay());
        put("--heal-batch", heal.batch());
        put("--heal-length", heal.length());
        put("--heal-precision", heal.precision());
    }

    private void add(Calibration calibration) {
        DocumentForm form = calibration.text().form();
        put("--calibration", calibration.text());
        put("--field", form.field());
        put("--bos", form.bos());
        if (form.pack()) {
            put("--pack", true);
        }
        put("--sampling", calibration.sampling());
        put("--samples", calibration.samples());
        put("--sequence-length", calibration.length());
        put("--seed", calibration.seed());
    }

    private void put(String option, Object value) {
        options.put(option,
                value instanceof Enum<?> constant ? constant.name().toLowerCase(Locale.ROOT) : value.toString());
    }
}
