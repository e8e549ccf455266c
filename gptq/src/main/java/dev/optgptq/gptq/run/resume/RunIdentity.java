package dev.optgptq.gptq.run.resume;

import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.model.SourceFiles;
import dev.optgptq.gptq.journal.Identity;
import dev.optgptq.gptq.run.memory.MemoryPlan;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.SettingsTable;
import dev.optgptq.kernels.Device;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/** Everything that decides the bits of a checkpoint, so that no run resumes from another one's blocks. */
public final class RunIdentity {

    private RunIdentity() {}

    /**
     * @param products matmul dtype while calibrating
     * @param memory batch tokens and parts of the calibration: on a GPU they depend on free memory, and the order of
     *     sums on them
     * @param calibration null when the calibrator needs none
     */
    public static Identity of(QuantizeSettings settings, ModuleGrids grids, DType products, MemoryPlan memory,
            Origin origin,
            Device device,
            ModelDirectory source,
            @Nullable TokenSequences calibration) {
        SequencedMap<String, String> facts = facts(settings, grids, products, memory, origin, device, calibration);
        facts.putAll(SourceFiles.describe(source));
        return new Identity(facts);
    }

    /** The same as ranks must have it in common, each of which may have a copy of the model of its own. */
    public static Identity ofRank(QuantizeSettings settings, ModuleGrids grids, DType products, MemoryPlan memory,
            Origin origin,
            Device device,
            ModelDirectory source,
            @Nullable TokenSequences calibration) {
        SequencedMap<String, String> facts = facts(settings, grids, products, memory, origin, device, calibration);
        facts.putAll(SourceFiles.sample(source));
        return new Identity(facts);
    }

    private static SequencedMap<String, String> facts(QuantizeSettings settings, ModuleGrids grids, DType products,
            MemoryPlan memory,
            Origin origin, Device device, @Nullable TokenSequences calibration) {
        SequencedMap<String, String> facts = SettingsTable.deciding(settings);
        facts.put("the modules with a grid of their own", grids.words());
        facts.put("the calibration text", calibration == null ? "none" : calibration.digest());
        facts.put("the products of the forward pass", products.toString());
        facts.put("the tokens of a batch", memory.batchRows() + ", in " + memory.parts() + " parts");
        facts.put("the program", origin.tool() + " " + origin.version());
        facts.put("its build", BuildIdentity.OF_THIS_PROGRAM);
        facts.put("Java", Runtime.version().toString());
        facts.put("the device", device.arithmetic());
        if (products != DType.F32) {
            facts.put("what multiplies " + products, device.halvesRemark(products));
        }
        return facts;
    }
}
