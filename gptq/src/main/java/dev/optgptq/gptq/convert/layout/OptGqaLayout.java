package dev.optgptq.gptq.convert.layout;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.Objects;
import java.util.SequencedMap;

/**
 * The same model as a directory of the family opt_gqa, in memory: its tensors under that family's names, fused linears taken
 * apart, nothing of them copied but the embedding table where positions are folded into it. The source must stay open.
 */
public final class OptGqaLayout implements AutoCloseable {

    private static final String LAYER = "model.layers.";

    private final Arena arena = Arena.ofShared();
    private final ModelDirectory source;
    private final ModelSpec spec;
    private final SequencedMap<String, TensorView> tensors = new LinkedHashMap<>();
    private final ModelDirectory directory;

    /** How tokens know their order in it. */
    public sealed interface Positions {
        /** A table of them is added to the embedding, as the source has it. */
        record Learned() implements Positions {}

        /**
         * ALiBi's slopes by the index of a query head.
         *
         * @param meanOver of the source's learned positions, if it has any, so many are averaged and added to the embedding
         */
        record Alibi(int meanOver) implements Positions {}
    }

    /** Throws UserError UNSUPPORTED_MODEL where the form has no room for something of the source. */
    public OptGqaLayout(ModelDirectory source, ModelSpec spec, Positions positions) {
        OptGqaForm.check(source, spec, positions);
        this.source = source;
        this.spec = spec;
        embedding(positions);
        spec.blockSpecs().forEach(this::block);
        norm(Objects.requireNonNull(spec.head().norm()), "model.norm");
        if (!spec.head().tied()) {
            rename(spec.head().module() + ".weight", "lm_head.weight");
        }
        ModelConfig config = new ModelConfig(OptGqaForm.config(source, spec, positions), source.config().file());
        this.directory = ModelDirectory.inMemory(source.path(), config, tensors);
    }

    /** The model, with as many key-value heads as the source; valid until this is closed. */
    public ModelDirectory directory() {
        return directory;
    }

    private void embedding(Positions positions) {
        String table = spec.embedding().table() + ".weight";
        EmbeddingSpec.Positions learned = spec.embedding().positions();
        if (learned == null) {
            rename(table, "model.embed_tokens.weight");
            return;
        }
        TensorView rows = source.tensor(learned.table() + ".weight");
        switch (positions) {
            case Positions.Learned kept -> {
                rename(table, "model.embed_tokens.weight");
                put(rows(rows, "model.embed_positions.weight", learned.offset(), spec.maxPositions()));
            }
            case Positions.Alibi(int meanOver) -> {
                TensorView seen = rows(rows, rows.name(), learned.offset(), Math.min(meanOver, spec.maxPositions()));
                TensorView ids = source.tensor(table);
                put(new TensorView("model.embed_tokens.weight", ids.dtype(), ids.shape(),
                        FoldedRows.plusMean(ids, seen, arena), ids.file()));
            }
        }
    }

    private void block(BlockSpec block) {
        String prefix = LAYER + block.index() + ".";
        norm(Objects.requireNonNull(block.norm(NormSlot.BEFORE_ATTENTION)), prefix + "input_layernorm");
        norm(Objects.requireNonNull(block.norm(NormSlot.BEFORE_MLP)), prefix + "post_attention_layernorm");
        for (LinearSpec linear : block.linears()) {
            switch (linear.projection()) {
                case QUERY -> parts(linear, prefix, "self_attn.q_proj");
                case KEY -> parts(linear, prefix, "self_attn.k_proj");
                case VALUE -> parts(linear, prefix, "self_attn.v_proj");
                case QUERY_KEY_VALUE ->
                    parts(linear, prefix, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj");
                case ATTENTION_OUTPUT -> parts(linear, prefix, "self_attn.o_proj");
                case GATE -> parts(linear, prefix, "mlp.gate_proj");
                case UP -> parts(linear, prefix, "mlp.up_proj");
                case GATE_UP -> parts(linear, prefix, "mlp.gate_proj", "mlp.up_proj");
                case DOWN -> parts(linear, prefix, "mlp.down_proj");
                default -> throw new IllegalArgumentException(linear.toString());
            }
        }
    }

    /** The parts of a linear lie one under the other. */
    private void parts(LinearSpec linear, String prefix, String... names) {
        int first = 0;
        for (int part = 0; part < names.length; part++) {
            int rows = names.length == 1 ? linear.outputs() : linear.view().rows().parts().get(part);
            put(rows(source.tensor(linear.weightTensor()), prefix + names[part] + ".weight", first, rows));
            if (linear.bias()) {
                put(rows(source.tensor(linear.biasTensor()), prefix + names[part] + ".bias", first, rows));
            }
            first += rows;
        }
    }

    private void norm(NormSpec norm, String name) {
        for (NormSpec.Stored stored : norm.stored()) {
            rename(stored.tensor(), name + (stored.isBias() ? ".bias" : ".weight"));
        }
    }

    private void rename(String from, String to) {
        TensorView view = source.tensor(from);
        put(new TensorView(to, view.dtype(), view.shape(), view.data(), view.file()));
    }

    private void put(TensorView view) {
        tensors.put(view.name(), view);
    }

    /** Some rows of a matrix, or elements of a vector. */
    private static TensorView rows(TensorView view, String name, long first, long count) {
        boolean vector = view.shape().rank() == 1;
        long columns = vector ? 1 : view.shape().dimension(1);
        long bytes = columns * view.dtype().bytes();
        return new TensorView(name, view.dtype(), vector ? Shape.of(count) : Shape.of(count, columns),
                view.data().asSlice(first * bytes, count * bytes), view.file());
    }

    @Override
    public void close() {
        arena.close();
    }
}
