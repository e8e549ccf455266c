package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.layout.FusedGeluLayout;
import dev.optgptq.gptq.convert.layout.OptGqaLayout;
import dev.optgptq.gptq.convert.layout.RemoteCode;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ObjectNode;

/**
 * The model in the form that it will be written in, before any of its weights is fitted: its own family's where that can say
 * what it will be, else opt_gqa.
 *
 * @param base with all its key-value heads
 * @param layout what base lies in; null where base is the source itself
 * @param mpt what base lies in instead, where it is to be mpt; made of the other
 */
record TargetForm(ModelDirectory base, @Nullable OptGqaLayout layout, @Nullable FusedGeluLayout mpt)
        implements
            AutoCloseable {

    /**
     * Chooses the form.
     *
     * @param toAlibi whether positions become ALiBi
     * @param meanOver learned positions that are averaged then
     */
    static TargetForm of(ModelDirectory source, ModelSpec spec, HeadPlan plan, ConvertSettings settings,
            boolean toAlibi, int meanOver) {
        int kvHeads = plan.kvHeads().getFirst();
        boolean byLayer = settings.heads().byLayer();
        ConvertSettings.Form form = settings.form();
        boolean isOptGqa = spec.family().equals("opt_gqa");
        if (!toAlibi && form == ConvertSettings.Form.AUTO
                && (byLayer ? isOptGqa : kvHeads == plan.before() || holds(source.config(), kvHeads))) {
            return new TargetForm(source, null, null);
        }
        OptGqaLayout.Positions positions = toAlibi
                ? new OptGqaLayout.Positions.Alibi(meanOver)
                : OptGqaLayout.Positions.kept(source, spec);
        OptGqaLayout layout = new OptGqaLayout(source, spec, positions);
        if (form == ConvertSettings.Form.AUTO) {
            return new TargetForm(layout.directory(), layout, null);
        }
        try {
            FusedGeluLayout mpt = new FusedGeluLayout(layout.directory());
            return new TargetForm(mpt.directory(), layout, mpt);
        } catch (RuntimeException e) {
            layout.close();
            throw e;
        }
    }

    /** Whether the description of the model's family reads how many key-value heads there are. */
    private static boolean holds(ModelConfig config, int kvHeads) {
        ModelSpec spec = ModelSpec.resolve(new ModelConfig(ConvertedConfig.of(config, kvHeads), config.file()));
        return HeadPlan.attention(spec).kvHeads() == kvHeads;
    }

    /** What config.json will be. */
    ObjectNode config(HeadPlan plan) {
        boolean same = plan.isUniform()
                && HeadPlan.attention(ModelSpec.resolve(base)).kvHeads() == plan.kvHeads().getFirst();
        return same ? (ObjectNode) base.config().json().deepCopy() : ConvertedConfig.of(base.config(), plan);
    }

    /** Writes what other programs need to run it. */
    void writeCode(CheckpointWriter writer) {
        if (layout != null && mpt == null) {
            RemoteCode.FILES.forEach(name -> writer.writeFile(name, RemoteCode.bytes(name)));
        }
    }

    @Override
    public void close() {
        if (mpt != null) {
            mpt.close();
        }
        if (layout != null) {
            layout.close();
        }
    }
}
