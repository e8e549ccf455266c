package dev.optgptq.cli.inspect;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.formats.scaled.ScaledFormat;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What is in a model directory.
 *
 * @param modelType model_type of config.json, null when there is none
 * @param architecture null when the family is not supported
 * @param notSupported why this program cannot run it, null when it can
 * @param parameters weights, packed ones counted decoded
 * @param bytes of tensor data
 * @param mixture null for a model without experts, or one that is not supported
 * @param quantization null for a plain model
 * @param scaled how weights are stored that are small floats with a scale for each block; null where none are
 * @param dtypes tensor data by dtype
 * @param tensors the same tensor of all blocks in one line
 */
public record ModelSummary(String path, @Nullable String modelType, @Nullable Architecture architecture,
        @Nullable String notSupported, long parameters, @Nullable Mixture mixture, long bytes,
        @Nullable Quantization quantization, @Nullable String scaled, List<DTypeShare> dtypes,
        List<TensorGroup> tensors) {

    /**
     * @param kvHeads as many as heads for multi-head attention, fewer for grouped-query attention; of the first layer
     * @param kvHeadsByLayer where layers differ; else null
     * @param sharing query heads to a KV head
     * @param positions how tokens know their order, in words
     */
    public record Architecture(String family, int blocks, int hiddenSize, int heads, int kvHeads,
            @Nullable List<Integer> kvHeadsByLayer, int headDim, int sharing, String positions, CacheSize cache,
            int intermediateSize, int vocabSize, int maxPositions,
            boolean tiedHead) {

        static Architecture of(ModelSpec spec, int context) {
            CacheSize cache = CacheSize.of(spec, context == 0 ? spec.maxPositions() : context);
            BlockSpec first = spec.block(0);
            int intermediate = switch (first.feedForward()) {
                case FeedForward.Dense dense -> dense.intermediateSize();
                case FeedForward.Experts experts -> experts.each().intermediateSize();
            };
            return switch (first.mixer()) {
                case Mixer.Attention form ->
                    of(spec, form.heads(), form.kvHeads(), form.headDim(), cache, intermediate);
                case Mixer.LatentAttention form ->
                    of(spec, form.heads(), form.heads(), form.headDim(), cache, intermediate);
                case Mixer.DeltaNet form ->
                    of(spec, form.valueHeads(), form.keyHeads(), form.valueDim(), cache, intermediate);
            };
        }

        private static @Nullable List<Integer> kvHeadsByLayer(ModelSpec spec) {
            List<Integer> counts = spec.blockSpecs().stream()
                    .flatMap(block -> block.mixer() instanceof Mixer.Attention form
                            ? Stream.of(form.kvHeads())
                            : Stream.of())
                    .toList();
            return counts.stream().distinct().count() > 1 ? counts : null;
        }

        private static Architecture of(ModelSpec spec, int heads, int kvHeads, int headDim, CacheSize cache,
                int intermediate) {
            return new Architecture(spec.family(), spec.blocks(), spec.hiddenSize(), heads, kvHeads,
                    kvHeadsByLayer(spec), headDim,
                    Math.max(1, heads / kvHeads), PositionNames.of(spec), cache, intermediate, spec.vocabSize(),
                    spec.maxPositions(), spec.head().tied());
        }
    }

    /**
     * @param format "gptq", "gptq_v2", "compressed-tensors", "awq", "w8a8", "mlx" or "slimquant"
     * @param packedLayers linear layers that are packed
     * @param own grids of some of them that differ
     */
    public record Quantization(String format, int bits, int groupSize, boolean symmetric, boolean descAct,
            long packedLayers, List<OwnGrid> own) {}

    /**
     * @param pattern as config.json has it; of several that match a module the first counts
     * @param layers whose grid it is
     */
    public record OwnGrid(String pattern, long layers, int bits, int groupSize, boolean symmetric) {}

    /** All tensors of one type. */
    public record DTypeShare(String dtype, int tensors, long bytes) {}

    /**
     * Opens no files; throws UserError only if the directory itself is damaged.
     *
     * @param context tokens that the KV cache is counted for; 0 for as many as the model takes
     */
    public static ModelSummary of(ModelDirectory directory, int context) {
        Collection<TensorView> tensors = directory.tensors().values();
        ModelConfig config = directory.config();
        Architecture architecture = null;
        Mixture mixture = null;
        String notSupported = null;
        long parameters = directory.parameters();
        try {
            ModelSpec spec = ModelSpec.resolve(directory);
            architecture = Architecture.of(spec, context);
            mixture = Mixture.of(spec, parameters);
        } catch (UserError e) {
            notSupported = e.getMessage();
        }
        return new ModelSummary(directory.path().toString(),
                config.has("model_type") ? config.text("model_type") : null,
                architecture, notSupported, parameters, mixture,
                tensors.stream().mapToLong(view -> view.data().byteSize()).sum(), quantization(directory),
                directory.scaledFormat().map(ScaledFormat::label).orElse(null),
                dtypes(tensors), TensorGroup.fold(tensors));
    }

    private static @Nullable Quantization quantization(ModelDirectory directory) {
        QuantizationConfig config = directory.quantization().orElse(null);
        return config == null
                ? null
                : new Quantization(config.format().label(), config.bits(), config.groupSize(), config.symmetric(),
                        config.descAct(), directory.packedModules().size(), own(directory, config));
    }

    private static List<OwnGrid> own(ModelDirectory directory, QuantizationConfig config) {
        return config.modules().stream().map(grid -> new OwnGrid(grid.pattern(),
                directory.packedModules().stream()
                        .filter(module -> config.modules().stream().filter(each -> each.matches(module)).findFirst()
                                .filter(grid::equals).isPresent())
                        .count(),
                grid.bits(), grid.groupSize(), grid.symmetric())).toList();
    }

    private static List<DTypeShare> dtypes(Collection<TensorView> tensors) {
        Map<DType, List<TensorView>> byType = tensors.stream()
                .collect(Collectors.groupingBy(TensorView::dtype, TreeMap::new, Collectors.toList()));
        return byType.entrySet().stream()
                .map(entry -> new DTypeShare(entry.getKey().name(), entry.getValue().size(),
                        entry.getValue().stream().mapToLong(view -> view.data().byteSize()).sum()))
                .toList();
    }
}
