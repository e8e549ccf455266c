package dev.optgptq.calibrate.family;

import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * One model's architecture, resolved from config.json by its family's description. Pre-norm decoder blocks with
 * sequential residuals: x += attention(norm(x)), then x += mlp(norm(x)).
 *
 * @param family the description it came from: "llama"
 * @param hiddenSize width of the residual stream
 * @param maxPositions the longest sequence it was trained for
 * @param position how token order enters
 * @param tiedHead whether the head multiplies by the embedding table
 * @param names of its tensors on disk
 * @param blockLinears the linears of any block, in forward order
 */
public record ModelSpec(String family, int hiddenSize, int blocks, int vocabSize, int maxPositions, Norm norm,
        Attention attention, Position position, Mlp mlp, boolean tiedHead, TensorNames names,
        List<BlockLinear> blockLinears) {

    public ModelSpec {
        blockLinears = List.copyOf(blockLinears);
    }

    /** Reads config.json by the description of its model_type; throws UserError UNSUPPORTED_MODEL or BAD_MODEL. */
    public static ModelSpec resolve(ModelConfig config) {
        return new FamilyResolver(Families.of(config), config).resolve();
    }

    /**
     * The architecture with rotary frequencies rounded to the dtype that the embedding is stored in: what transformers
     * computes for a model that was cast in memory, module.to(bfloat16).
     */
    public static ModelSpec resolveAsCast(ModelDirectory directory) {
        ModelSpec spec = resolve(directory.config());
        TensorView table = directory.tensors().get(spec.names().embedding() + ".weight");
        if (table == null || !(spec.position instanceof Position.Rotary rotary)) {
            return spec;
        }
        return new ModelSpec(spec.family, spec.hiddenSize, spec.blocks, spec.vocabSize, spec.maxPositions, spec.norm,
                spec.attention, rotary.withFrequencyType(table.dtype()), spec.mlp, spec.tiedHead, spec.names,
                spec.blockLinears);
    }

    /** @param bias whether the norms have one; RMS norms never do */
    public record Norm(Kind kind, float eps, boolean bias) {
        /** RMS: Zhang and Sennrich 2019. LAYER: Ba et al. 2016. */
        public enum Kind {
            RMS, LAYER
        }
    }

    /**
     * @param scale multiplies q.k
     * @param window keys that a query sees, itself included; 0 for all before it
     */
    public record Attention(int heads, int kvHeads, int headDim, float scale, int window) {
        /** Width of all query heads, and of the attention's output. */
        public int queryWidth() {
            return heads * headDim;
        }

        /** Width of all key heads, and of all value heads. */
        public int kvWidth() {
            return kvHeads * headDim;
        }
    }

    /** GATED: down(f(gate(x)) * up(x)); PLAIN: down(f(up(x))). */
    public record Mlp(Form form, Activation activation, int intermediateSize) {
        /** How the two or three linears are joined. */
        public enum Form {
            GATED, PLAIN
        }
    }

    /**
     * Names without ".weight" and ".bias".
     *
     * @param block prefix of a block's tensors, "{}" standing for its index
     * @param attentionNorm within the block
     * @param mlpNorm within the block
     * @param head of its weights when they are not tied
     * @param unused full names within a block of tensors that older checkpoints carry and no forward pass reads
     */
    public record TensorNames(String embedding, String block, String attentionNorm, String mlpNorm, String finalNorm,
            String head, List<String> unused) {
        /** The full name of something in a block: "model.layers.3.mlp.up_proj". */
        public String inBlock(int index, String role) {
            return block.replace("{}", Integer.toString(index)) + "." + role;
        }
    }

    /** A linear as every block has it. */
    public record BlockLinear(String role, Projection projection, boolean bias) {}

    /** The linears of a block, in forward order; those of the embedding and the head are not among them. */
    public List<LinearSpec> linears(int block) {
        return blockLinears.stream()
                .map(linear -> new LinearSpec(names.inBlock(block, linear.role()), linear.role(), linear.projection(),
                        inputs(linear.projection().site()), outputs(linear.projection()), linear.bias()))
                .toList();
    }

    /** The tensors of all norms, [hidden] each: those of every block, and the final one. */
    public List<String> normTensors() {
        List<String> tensors = new ArrayList<>();
        for (int block = 0; block < blocks; block++) {
            addNorm(names.inBlock(block, names.attentionNorm()), tensors);
            addNorm(names.inBlock(block, names.mlpNorm()), tensors);
        }
        addNorm(names.finalNorm(), tensors);
        return tensors;
    }

    private void addNorm(String name, List<String> tensors) {
        tensors.add(name + ".weight");
        if (norm.bias()) {
            tensors.add(name + ".bias");
        }
    }

    /** Width of the activations at a site. */
    public int inputs(InputSite site) {
        return switch (site) {
            case ATTENTION_INPUT, MLP_INPUT -> hiddenSize;
            case ATTENTION_OUTPUT -> attention.queryWidth();
            case MLP_OUTPUT -> mlp.intermediateSize();
        };
    }

    /** The sites that linears have, which are the same in every block. */
    public Set<InputSite> sites() {
        return blockLinears.stream().map(linear -> linear.projection().site())
                .collect(Collectors.toCollection(() -> EnumSet.noneOf(InputSite.class)));
    }

    /** The widest of them. */
    public int widestInput() {
        return blockLinears.stream().mapToInt(linear -> inputs(linear.projection().site())).max().orElse(0);
    }

    private int outputs(Projection projection) {
        return switch (projection) {
            case QUERY -> attention.queryWidth();
            case KEY, VALUE -> attention.kvWidth();
            case QUERY_KEY_VALUE -> attention.queryWidth() + 2 * attention.kvWidth();
            case GATE, UP -> mlp.intermediateSize();
            case ATTENTION_OUTPUT, DOWN -> hiddenSize;
        };
    }
}
