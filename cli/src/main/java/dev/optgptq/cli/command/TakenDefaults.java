package dev.optgptq.cli.command;

import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import picocli.CommandLine.ParseResult;

/**
 * The settings that were not given and make a difference, with the values they took.
 *
 * @param values by option, in the order of the help
 */
record TakenDefaults(SequencedMap<String, String> values) {

    /** What only a calibrator that sees text reads. */
    private static final List<String> OF_CALIBRATION = List.of("--scale-search", "--refit-scales",
            "--coordinate-descent", "--act-order", "--damp",
            "--true-sequential",
            "--calibration", "--sampling", "--samples", "--sequence-length", "--seed", "--precision");

    /** What only gradient calibration reads. */
    private static final List<String> OF_GRADIENTS = List.of("--weigh-tokens", "--fisher", "--propagate-error",
            "--tune", "--tune-norms");

    static TakenDefaults of(ParseResult parsed, QuantizeSettings settings, int threads) {
        SequencedMap<String, String> all = new LinkedHashMap<>();
        all.put("--output", settings.output().toString());
        all.put("--calibrator", Choices.label(settings.calibrator()));
        all.put("--bits", String.valueOf(settings.bits()));
        all.put("--group-size", String.valueOf(settings.groupSize()));
        all.put("--symmetric", String.valueOf(settings.symmetric()));
        all.put("--clip-search", String.valueOf(settings.clipSearch()));
        all.put("--scale-search", String.valueOf(settings.scaleSearch()));
        Refinement refinement = settings.refinement();
        all.put("--refit-scales", String.valueOf(refinement.refitScales()));
        all.put("--coordinate-descent", String.valueOf(refinement.descentSweeps()));
        all.put("--weigh-tokens", String.valueOf(refinement.weighTokens()));
        all.put("--fisher", refinement.labels() instanceof NextToken ? "empirical" : "sampled");
        all.put("--propagate-error", String.valueOf(refinement.propagate()));
        all.put("--tune", String.valueOf(refinement.tuneSteps()));
        if (refinement.tuneSteps() > 0) {
            all.put("--tune-norms", String.valueOf(refinement.tuneNorms()));
        }
        all.put("--act-order", Choices.label(settings.actOrder()));
        all.put("--damp", String.valueOf(settings.damp()));
        all.put("--true-sequential", String.valueOf(settings.trueSequential()));
        all.put("--calibration", "bundled");
        all.put("--sampling", Choices.label(settings.sampling()));
        all.put("--samples", String.valueOf(settings.samples()));
        all.put("--sequence-length", String.valueOf(settings.sequenceLength()));
        all.put("--seed", String.valueOf(settings.seed()));
        all.put("--precision", Choices.label(settings.precision()));
        all.put("--format", settings.format().label());
        all.put("--eval", "bundled");
        all.put("--window", String.valueOf(settings.evaluationWindow()));
        all.put("--threads", String.valueOf(threads));
        if (settings.calibrator() == CalibratorKind.RTN) {
            OF_CALIBRATION.forEach(all::remove);
        }
        if (settings.calibrator() == CalibratorKind.GRADIENT) {
            all.remove("--scale-search");
            all.remove("--precision");
        } else {
            OF_GRADIENTS.forEach(all::remove);
        }
        if (!settings.evaluate()) {
            all.remove("--window");
        }
        parsed.matchedOptions().forEach(option -> List.of(option.names()).forEach(all::remove));
        return new TakenDefaults(all);
    }

    List<String> options() {
        return new ArrayList<>(values.sequencedKeySet());
    }

    /** For the log: flags that are off say nothing and are left out. */
    String sentence() {
        return values.entrySet().stream().filter(entry -> !entry.getValue().equals("false")).map(TakenDefaults::words)
                .collect(Collectors.joining(" ", "taken by default: ", ""));
    }

    private static String words(Map.Entry<String, String> entry) {
        return entry.getValue().equals("true") ? entry.getKey() : entry.getKey() + " " + entry.getValue();
    }
}
