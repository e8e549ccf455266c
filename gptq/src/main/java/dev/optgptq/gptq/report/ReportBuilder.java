package dev.optgptq.gptq.report;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.kernels.DeviceGroup;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/** Puts the report together from what a run knows. */
public record ReportBuilder(QuantizeSettings settings, DType products, Origin origin, DeviceGroup devices,
        ModelSpec model, ModelDirectory source) {

    /**
     * What the checkpoint holds.
     *
     * @param bytes of all its tensors
     * @param keptBytes of those that are the source's
     * @param quantizedParameters weights that were quantized
     */
    public record Written(long bytes, long keptBytes, long quantizedParameters) {}

    public RunReport build(String started, RunReport.Resumed resumed, Written written,
            List<RunReport.Layer> layers, List<RunReport.Phase> phases,
            RunReport.Memory memory, RunReport.@Nullable Quality quality, List<String> warnings,
            @Nullable Ablation ablation) {
        SequencedMap<String, String> command = command();
        double seconds = phases.stream().mapToDouble(RunReport.Phase::seconds).sum();
        return new RunReport(1, origin.tool() + " " + origin.version(), started, resumed, command,
                origin.defaults().stream().filter(command::containsKey).toList(), machine(), model(written),
                List.copyOf(layers), phases,
                memory, size(written), quality, seconds, warnings, ablation);
    }

    private RunReport.Machine machine() {
        return new RunReport.Machine(devices.name(), devices.description(), products.name(),
                Runtime.version().toString(),
                System.getProperty("os.name") + " " + System.getProperty("os.arch"),
                Runtime.getRuntime().availableProcessors());
    }

    private RunReport.Model model(Written written) {
        long parameters = source.tensors().values().stream().mapToLong(view -> view.shape().elements()).sum();
        return new RunReport.Model(settings.model().toString(), settings.output().toString(), model.family(),
                model.blocks(), model.hiddenSize(), model.vocabSize(), parameters, written.quantizedParameters());
    }

    private RunReport.Size size(Written written) {
        long before = source.tensors().values().stream().map(TensorView::data).mapToLong(data -> data.byteSize()).sum();
        double weights = written.quantizedParameters();
        return new RunReport.Size(before, written.bytes(), 8 * (before - written.keptBytes()) / weights,
                8 * (written.bytes() - written.keptBytes()) / weights);
    }

    /** The settings by the names of the command line's options. */
    private SequencedMap<String, String> command() {
        SequencedMap<String, String> command = new LinkedHashMap<>();
        command.put("--calibrator", lower(settings.calibrator()));
        command.put("--bits", String.valueOf(settings.bits()));
        command.put("--group-size", String.valueOf(settings.groupSize()));
        command.put("--symmetric", String.valueOf(settings.symmetric()));
        command.put("--clip-search", String.valueOf(settings.clipSearch()));
        command.put("--scale-search", String.valueOf(settings.scaleSearch()));
        command.put("--refit-scales", String.valueOf(settings.refinement().refitScales()));
        command.put("--coordinate-descent", String.valueOf(settings.refinement().descentSweeps()));
        if (settings.calibrator() == QuantizeSettings.CalibratorKind.GRADIENT) {
            Refinement refinement = settings.refinement();
            command.put("--weigh-tokens", String.valueOf(refinement.weighTokens()));
            command.put("--fisher", refinement.labels() instanceof NextToken ? "empirical" : "sampled");
            command.put("--propagate-error", String.valueOf(refinement.propagate()));
            command.put("--tune", String.valueOf(refinement.tuneSteps()));
            if (refinement.tuneSteps() > 0) {
                command.put("--tune-norms", String.valueOf(refinement.tuneNorms()));
            }
        }
        command.put("--act-order", lower(settings.actOrder()));
        command.put("--damp", String.valueOf(settings.damp()));
        command.put("--true-sequential", String.valueOf(settings.trueSequential()));
        command.put("--calibration", settings.calibration() == null ? "bundled" : settings.calibration().toString());
        command.put("--sampling", lower(settings.sampling()));
        command.put("--samples", String.valueOf(settings.samples()));
        command.put("--sequence-length", String.valueOf(settings.sequenceLength()));
        command.put("--seed", String.valueOf(settings.seed()));
        command.put("--precision", lower(settings.precision()));
        command.put("--format", settings.format().label());
        command.put("--eval", !settings.evaluate()
                ? "none"
                : settings.evaluation() == null ? "bundled" : settings.evaluation().toString());
        if (settings.evaluate()) {
            command.put("--window", String.valueOf(settings.evaluationWindow()));
        }
        return command;
    }

    private static String lower(Enum<?> value) {
        return value.name().toLowerCase(Locale.ROOT);
    }
}
