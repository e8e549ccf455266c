package dev.optgptq.gptq.report;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.SettingsTable;
import dev.optgptq.kernels.DeviceGroup;
import java.util.List;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/** Builds the report from the results of a run. */
public record ReportBuilder(QuantizeSettings settings, DType products, Origin origin, DeviceGroup devices,
        ModelSpec model, ModelDirectory source) {

    /**
     * What the checkpoint holds.
     *
     * @param bytes of all its tensors
     * @param keptBytes of those copied from the source
     * @param quantizedParameters weights that were quantized
     */
    public record Written(long bytes, long keptBytes, long quantizedParameters) {}

    public RunReport build(String started, RunReport.Resumed resumed, Written written,
            List<RunReport.Layer> layers, List<RunReport.OwnGrid> modules,
            RunReport.@Nullable ChosenBits allocation, List<RunReport.Phase> phases,
            RunReport.Memory memory, RunReport.Range range, RunReport.@Nullable Quality quality, List<String> warnings,
            @Nullable Ablation ablation) {
        SequencedMap<String, String> command = SettingsTable.values(settings);
        double seconds = phases.stream().mapToDouble(RunReport.Phase::seconds).sum();
        return new RunReport(1, origin.tool() + " " + origin.version(), started, resumed, command,
                origin.defaults().stream().filter(command::containsKey).toList(), machine(), model(written),
                List.copyOf(layers), modules, allocation, phases,
                memory, size(written), range, quality, seconds, warnings, ablation);
    }

    private RunReport.Machine machine() {
        return new RunReport.Machine(devices.name(), devices.description(), products.name(),
                Runtime.version().toString(),
                System.getProperty("os.name") + " " + System.getProperty("os.arch"),
                Runtime.getRuntime().availableProcessors());
    }

    private RunReport.Model model(Written written) {
        return new RunReport.Model(settings.model().toString(), settings.output().directory().toString(),
                model.family(),
                model.blocks(), model.hiddenSize(), model.vocabSize(), source.parameters(),
                written.quantizedParameters());
    }

    private RunReport.Size size(Written written) {
        long before = source.tensors().values().stream().map(TensorView::data).mapToLong(data -> data.byteSize()).sum();
        double weights = written.quantizedParameters();
        return new RunReport.Size(before, written.bytes(), 8 * (before - written.keptBytes()) / weights,
                8 * (written.bytes() - written.keptBytes()) / weights);
    }
}
