package dev.optgptq.gptq.convert.layout;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.calibrate.family.WeightView;
import dev.optgptq.calibrate.model.AttentionParts;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.stream.IntStream;

/**
 * The same model as a directory of the family opt_gqa, in memory: its tensors under that family's names, fused linears taken
 * apart. Copied are an embedding table that something is folded into, and rows that do not lie together. The source must stay open.
 */
public final class OptGqaLayout implements AutoCloseable {

    private static final String LAYER = "model.layers.";

    private final Arena arena = Arena.ofShared();
    private final ModelDirectory source;
    private final ModelSpec spec;
    /** Elements of a head that turn with their neighbours; 0 where pairs lie apart, or nothing turns. */
    private final int pairs;
    private final SequencedMap<String, TensorView> tensors = new LinkedHashMap<>();
    private final ModelDirectory directory;

    /** How tokens know their order in it. */
    public sealed interface Positions {
        /** A table of them is added to the embedding, as the source has it. */
        record Learned() implements Positions {}

        /** Rotary embedding, as the source has it; pairs of neighbours become halves of a head, by the order of rows. */
        record Rotary(Position.Rotary form) implements Positions {}

        /**
         * ALiBi's slopes by the index of a query head.
         *
         * @param slopes of the source; empty for those of the paper
         * @param meanOver of the source's learned positions, if it has any, so many are averaged and added to the embedding
         */
        record Alibi(List<Float> slopes, int meanOver) implements Positions {
            public Alibi {
                slopes = List.copyOf(slopes);
            }

            /** The slopes of the paper. */
            public Alibi(int meanOver) {
                this(List.of(), meanOver);
            }

            /** The slopes of a model. */
            private static Alibi of(Position.Alibi form, int heads) {
                List<Float> slopes = new ArrayList<>();
                for (float slope : AttentionParts.Positions.slopes(form, heads)) {
                    slopes.add(slope);
                }
                return new Alibi(slopes, 0);
            }
        }

        /** As the source has them. Throws UserError UNSUPPORTED_MODEL where it has none. */
        static Positions kept(ModelDirectory source, ModelSpec spec) {
            Mixer.Attention attention = OptGqaForm.attention(spec.block(0));
            return switch (attention.position()) {
                case Position.Alibi form -> Alibi.of(form, attention.heads());
                case Position.Rotary form -> new Rotary(form);
                case Position.None none -> {
                    if (spec.embedding().positions() == null) {
                        throw OptGqaForm.refused(source, "layers without positions");
                    }
                    yield new Learned();
                }
            };
        }
    }

    /** Throws UserError UNSUPPORTED_MODEL where the form has no room for something of the source. */
    public OptGqaLayout(ModelDirectory source, ModelSpec spec, Positions positions) {
        OptGqaForm.check(source, spec, positions);
        this.source = source;
        this.spec = spec;
        this.pairs = positions instanceof Positions.Rotary(Position.Rotary form)
                && form.layout() == RotaryLayout.INTERLEAVED ? form.rotaryDim() : 0;
        embedding(positions);
        spec.blockSpecs().forEach(this::block);
        norm(Objects.requireNonNull(spec.head().norm()), "model.norm");
        if (!spec.head().tied()) {
            rename(spec.head().module() + ".weight", "lm_head.weight");
        } else if (!OptGqaForm.staysTied(spec)) {
            rename(spec.embedding().table() + ".weight", "lm_head.weight");
        }
        if (spec.head().bias()) {
            rename(spec.head().module() + ".bias", "lm_head.bias");
        }
        ModelConfig config = new ModelConfig(OptGqaForm.config(source, spec, positions), source.config().file());
        this.directory = ModelDirectory.inMemory(source.path(), config, tensors);
    }

    /** The model, with as many key-value heads as the source; valid until this is closed. */
    public ModelDirectory directory() {
        return directory;
    }

    private void embedding(Positions positions) {
        table(positions);
        EmbeddingSpec.Positions learned = spec.embedding().positions();
        if (learned != null && positions instanceof Positions.Learned) {
            put(positions(learned, "model.embed_positions.weight", spec.maxPositions()));
        }
    }

    /** Factors, a norm, and the mean of positions that go are folded into the table. */
    private void table(Positions positions) {
        String stored = spec.embedding().table() + ".weight";
        EmbeddingSpec.Positions learned = spec.embedding().positions();
        TensorView ids = source.tensor(stored);
        if (!OptGqaForm.staysTied(spec)) {
            NormSpec norm = spec.embedding().norm();
            put(table(ids, FoldedRows.normed(ids, spec.embedding().scale(), norm,
                    norm == null ? null : source.tensor(norm.name() + ".weight"),
                    norm == null || !norm.bias() ? null : source.tensor(norm.name() + ".bias"), arena)));
        } else if (learned != null && positions instanceof Positions.Alibi alibi) {
            TensorView seen = positions(learned, learned.table(), Math.min(alibi.meanOver(), spec.maxPositions()));
            put(table(ids, FoldedRows.plusMean(ids, seen, arena)));
        } else {
            rename(stored, "model.embed_tokens.weight");
        }
    }

    private static TensorView table(TensorView ids, MemorySegment rows) {
        return new TensorView("model.embed_tokens.weight", ids.dtype(), ids.shape(), rows, ids.file());
    }

    /** The first of the learned positions. */
    private TensorView positions(EmbeddingSpec.Positions learned, String name, int count) {
        return StoredRows.of(source.tensor(learned.table() + ".weight"), name,
                IntStream.range(learned.offset(), learned.offset() + count).toArray(), arena);
    }

    private void block(BlockSpec block) {
        String prefix = LAYER + block.index() + ".";
        norm(Objects.requireNonNull(block.norm(NormSlot.BEFORE_ATTENTION)), prefix + "input_layernorm");
        NormSpec ofMlp = block.norm(NormSlot.BEFORE_MLP);
        if (ofMlp != null) {
            norm(ofMlp, prefix + "post_attention_layernorm");
        }
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

    /** The parts of a linear, each as a matrix [out, in], however the source joins them. */
    private void parts(LinearSpec linear, String prefix, String... names) {
        WeightView view = linear.view();
        int[] onDisk = view.rows().onDisk();
        int first = 0;
        for (int part = 0; part < names.length; part++) {
            String name = prefix + names[part];
            int rows = names.length == 1 ? linear.outputs() : view.rows().parts().get(part);
            int[] order = turning(names[part], Arrays.copyOfRange(onDisk, first, first + rows));
            TensorView weight = source.tensor(linear.weightTensor());
            put(view.stored() == WeightView.Stored.IN_OUT
                    ? StoredRows.ofTurned(weight, name + ".weight", order, arena)
                    : StoredRows.of(weight, name + ".weight", order, arena));
            if (linear.bias()) {
                put(StoredRows.of(source.tensor(linear.biasTensor()), name + ".bias", order, arena));
            }
            first += rows;
        }
    }

    /** Elements of queries and keys that turn with their neighbours come to lie half of what turns apart. */
    private int[] turning(String name, int[] rows) {
        boolean turns = name.endsWith("q_proj") || name.endsWith("k_proj");
        if (pairs == 0 || !turns) {
            return rows;
        }
        int d = OptGqaForm.attention(spec.block(0)).headDim();
        int[] order = rows.clone();
        for (int i = 0; i < rows.length; i++) {
            int inHead = i % d;
            if (inHead < pairs) {
                int half = pairs / 2;
                order[i] = rows[i - inHead + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1)];
            }
        }
        return order;
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

    @Override
    public void close() {
        arena.close();
    }
}
