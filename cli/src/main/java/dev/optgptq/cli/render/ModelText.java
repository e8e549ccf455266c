package dev.optgptq.cli.render;

import dev.optgptq.cli.console.TextTable;
import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.inspect.Mixture;
import dev.optgptq.cli.inspect.ModelSummary;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** The text of inspect. */
public final class ModelText {

    private ModelText() {}

    public static String of(ModelSummary model) {
        TextTable facts = TextTable.of("", "");
        facts.row("model type", model.modelType() == null ? "not given" : model.modelType());
        architecture(facts, model.architecture());
        mixture(facts, model.mixture(), model.architecture());
        facts.row("parameters",
                String.format(Locale.ROOT, "%s (%,d)%s", Units.count(model.parameters()), model.parameters(),
                        model.mixture() == null
                                ? ""
                                : ", " + Units.count(model.mixture().activeParameters()) + " active"));
        facts.row("size", String.format(Locale.ROOT, "%s, %.2f bits per parameter", Units.bytes(model.bytes()),
                8.0 * model.bytes() / Math.max(1, model.parameters())));
        facts.row("dtypes", model.dtypes().stream()
                .map(share -> share.dtype() + " " + Units.bytes(share.bytes()) + " in " + share.tensors() + " tensors")
                .collect(Collectors.joining(", ")));
        facts.row("quantization", model.scaled() == null
                ? quantization(model.quantization())
                : model.scaled() + ", read as the floats they stand for");
        if (model.notSupported() != null) {
            facts.row("not supported", model.notSupported());
        }
        TextTable tensors = TextTable.of("tensor", ">count", "dtype", "shape", ">bytes");
        model.tensors().forEach(group -> tensors.row(group.name(), Integer.toString(group.count()), group.dtype(),
                group.shape(), Units.bytes(group.bytes())));
        return String.join(System.lineSeparator(), model.path(), "", facts.text("  "), tensors.text("  "));
    }

    private static void architecture(TextTable facts, ModelSummary.@Nullable Architecture model) {
        if (model == null) {
            return;
        }
        facts.row("architecture", String.format(Locale.ROOT, "%d blocks, hidden size %d, MLP %d, vocabulary %d%s",
                model.blocks(), model.hiddenSize(), model.intermediateSize(), model.vocabSize(),
                model.tiedHead() ? ", head tied to the embedding" : ""));
        List<Integer> byLayer = model.kvHeadsByLayer();
        facts.row("attention",
                String.format(Locale.ROOT, "%d heads of %d, %s KV heads, up to %d positions", model.heads(),
                        model.headDim(), byLayer == null ? String.valueOf(model.kvHeads()) : joined(byLayer),
                        model.maxPositions()));
        facts.row("groups", groups(model, byLayer));
        facts.row("positions", model.positions());
        facts.row("KV cache", String.format(Locale.ROOT, "%,d bytes per token in 16 bits, %s at %,d tokens",
                model.cache().bytesPerToken(), Units.bytes(model.cache().bytesAtContext()), model.cache().context()));
    }

    private static String joined(List<Integer> counts) {
        return counts.stream().map(String::valueOf).collect(Collectors.joining("/"));
    }

    private static String groups(ModelSummary.Architecture model, @Nullable List<Integer> byLayer) {
        if (byLayer != null) {
            return "by layer, of " + joined(byLayer.stream().map(kvHeads -> model.heads() / kvHeads).toList())
                    + " query heads each";
        }
        return model.sharing() == 1
                ? "none: each query head has keys and values of its own"
                : model.kvHeads() + ", of " + model.sharing() + " query heads each";
    }

    private static void mixture(TextTable facts, @Nullable Mixture mixture,
            ModelSummary.@Nullable Architecture model) {
        if (mixture == null || model == null) {
            return;
        }
        facts.row("experts",
                String.format(Locale.ROOT, "%d, %d active, MLP %d%s, in %d of %d blocks", mixture.experts(),
                        mixture.active(), mixture.width(),
                        mixture.shared() == 0 ? "" : ", beside a shared one of " + mixture.shared(), mixture.blocks(),
                        model.blocks()));
        facts.row("router", mixture.router());
    }

    private static String quantization(ModelSummary.@Nullable Quantization quantization) {
        return quantization == null
                ? "none"
                : String.format(Locale.ROOT, "%s, %s%s, %d packed layers", quantization.format(),
                        grid(quantization.bits(), quantization.groupSize(), quantization.symmetric()),
                        quantization.descAct() ? ", desc_act" : "", quantization.packedLayers())
                        + quantization.own().stream().map(own -> "; of these " + own.layers() + " with "
                                + grid(own.bits(), own.groupSize(), own.symmetric())).collect(Collectors.joining());
    }

    private static String grid(int bits, int groupSize, boolean symmetric) {
        return bits + " bits, " + (groupSize == -1 ? "one group per output" : "groups of " + groupSize) + ", "
                + (symmetric ? "symmetric" : "asymmetric");
    }
}
