package dev.optgptq.calibrate.family;

import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.ToLongFunction;
import java.util.function.UnaryOperator;

/**
 * One model's architecture, resolved from config.json by its family's description: an embedding, blocks that may differ from
 * one another, and a head.
 *
 * @param family the description it came from: "llama"
 * @param hiddenSize width of the residual stream
 * @param maxPositions the longest sequence it was trained for
 * @param blockSpecs in order
 * @param unused patterns of full names of tensors that checkpoints carry and no forward pass reads
 * @param remarks unknown or odd fields of config.json, one sentence each
 */
public record ModelSpec(String family, int hiddenSize, int vocabSize, int maxPositions, EmbeddingSpec embedding,
        List<BlockSpec> blockSpecs, HeadSpec head, List<String> unused, List<String> remarks) {

    private static final String WEIGHT = ".weight";

    public ModelSpec {
        blockSpecs = List.copyOf(blockSpecs);
        unused = List.copyOf(unused);
        remarks = List.copyOf(remarks);
    }

    /** Reads config.json by the description of its model_type; throws UserError UNSUPPORTED_MODEL or BAD_MODEL. */
    public static ModelSpec resolve(ModelConfig config) {
        return resolve(config, Set.of());
    }

    private static ModelSpec resolve(ModelConfig config, Set<String> tensors) {
        ConfigReader reader = ConfigReader.of(config);
        return Families.of(reader, tensors).resolve();
    }

    /**
     * The same, with the facts that only the tensors show: whether the head is tied, and the prefix of the model's
     * names.
     */
    public static ModelSpec resolve(ModelDirectory directory) {
        return CheckpointFacts.apply(resolve(directory.config(), directory.tensors().keySet()), directory);
    }

    /**
     * The architecture with rotary frequencies rounded to the dtype that the embedding is stored in: what transformers
     * computes for a model that was cast in memory, module.to(bfloat16).
     */
    public static ModelSpec resolveAsCast(ModelDirectory directory) {
        ModelSpec spec = resolve(directory);
        TensorView table = directory.tensors().get(spec.embedding().table() + ".weight");
        return table == null ? spec : spec.withBlocks(block -> block.withFrequencyType(table.dtype()));
    }

    /** The same with every block changed. */
    public ModelSpec withBlocks(UnaryOperator<BlockSpec> change) {
        return new ModelSpec(family, hiddenSize, vocabSize, maxPositions, embedding,
                blockSpecs.stream().map(change).toList(), head, unused, remarks);
    }

    /** The same with another head. */
    public ModelSpec withHead(HeadSpec other, String remark) {
        List<String> more = new ArrayList<>(remarks);
        more.add(remark);
        return new ModelSpec(family, hiddenSize, vocabSize, maxPositions, embedding, blockSpecs, other, unused, more);
    }

    /** How many there are. */
    public int blocks() {
        return blockSpecs.size();
    }

    public BlockSpec block(int index) {
        return blockSpecs.get(index);
    }

    /** The linears of a block, in forward order; those of the embedding and the head are not among them. */
    public List<LinearSpec> linears(int block) {
        return block(block).linears();
    }

    /** The largest value of a property over all blocks. */
    public long most(ToLongFunction<BlockSpec> respect) {
        return blockSpecs.stream().mapToLong(respect).max().orElse(0);
    }

    /** The norms of every block and the final one; of a query's or key's heads, too. */
    public List<NormSpec> norms() {
        List<NormSpec> norms = new ArrayList<>();
        blockSpecs.forEach(block -> norms.addAll(block.norms().values()));
        if (head.norm() != null) {
            norms.add(head.norm());
        }
        return norms;
    }

    /** The tensors of all norms by their names on disk. */
    public List<NormSpec.Stored> normTensors() {
        return norms().stream().flatMap(norm -> norm.stored().stream()).toList();
    }

    /** The widest input of any linear in a block. */
    public int widestInput() {
        return blockSpecs.stream().flatMap(block -> block.linears().stream()).mapToInt(LinearSpec::inputs).max()
                .orElse(0);
    }

    /**
     * Modules with a matrix that runtimes take for a linear and that is not packed: the head, routers.
     *
     * @param tensors of the model
     */
    public List<String> plainModules(Collection<TensorView> tensors) {
        Set<String> plain = new LinkedHashSet<>();
        for (TensorView view : tensors) {
            if (view.name().endsWith(WEIGHT) && view.shape().rank() == 2 && view.dtype().isFloat()) {
                plain.add(view.name().substring(0, view.name().length() - WEIGHT.length()));
            }
        }
        plain.remove(embedding.table());
        if (embedding.positions() != null) {
            plain.remove(embedding.positions().table());
        }
        plain.add(head.module());
        return List.copyOf(plain);
    }
}
