package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.LinearWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The separate matrices of one block's attention, however its family joins them on disk: views of the block's weights,
 * F32; writing to them changes what the block computes.
 *
 * @param query [heads headDim, hidden]
 * @param queryBias [1, heads headDim], as the others null where the linear has none
 * @param key [kvHeads headDim, hidden], as is value
 * @param output [hidden, heads headDim]
 */
public record AttentionParts(Tensor query, @Nullable Tensor queryBias, Tensor key, @Nullable Tensor keyBias,
        Tensor value, @Nullable Tensor valueBias, Tensor output, @Nullable Tensor outputBias) {

    /**
     * Of a block that was loaded for float32 matmuls.
     *
     * @param form its mixer; fused rows must be stored part after part
     */
    public static AttentionParts of(Mixer.Attention form, BlockWeights block) {
        LinearWeights output = block.of(Projection.ATTENTION_OUTPUT);
        if (!block.spec().has(Projection.QUERY_KEY_VALUE)) {
            LinearWeights query = block.of(Projection.QUERY);
            LinearWeights key = block.of(Projection.KEY);
            LinearWeights value = block.of(Projection.VALUE);
            return new AttentionParts(query.weight(), query.bias(), key.weight(), key.bias(), value.weight(),
                    value.bias(), output.weight(), output.bias());
        }
        LinearWeights all = block.of(Projection.QUERY_KEY_VALUE);
        return of(form, all.weight(), all.bias(), output);
    }

    /**
     * Of fused rows.
     *
     * @param rows [(heads + 2 kvHeads) headDim, hidden], part after part
     * @param bias [1, the same], or null
     */
    public static AttentionParts of(Mixer.Attention form, Tensor rows, @Nullable Tensor bias, LinearWeights output) {
        long queryWidth = form.queryWidth();
        long kvWidth = form.kvWidth();
        return new AttentionParts(rows.rows(0, queryWidth), part(bias, 0, queryWidth),
                rows.rows(queryWidth, kvWidth), part(bias, queryWidth, kvWidth),
                rows.rows(queryWidth + kvWidth, kvWidth), part(bias, queryWidth + kvWidth, kvWidth),
                output.weight(), output.bias());
    }

    private static @Nullable Tensor part(@Nullable Tensor bias, long from, long count) {
        return bias == null ? null : bias.columns(from, count);
    }

    /**
     * How positions enter attention, on the device.
     *
     * @param rotation of queries and keys; null where they are not turned
     * @param slopes F32 [1, heads] of ALiBi; null where there is none
     */
    public record Positions(@Nullable Rotation rotation, @Nullable Tensor slopes) {

        /** For sequences of a length; the arena owns the tables. */
        public static Positions of(Mixer.Attention form, int sequenceLength, Device device, TensorArena arena) {
            return switch (form.position()) {
                case Position.Rotary rotary -> {
                    Tables.Rotation tables = PositionTables.rotation(rotary, sequenceLength, device, arena);
                    yield new Positions(new Rotation(tables.cos(), tables.sin(), rotary.layout()), null);
                }
                case Position.Alibi alibi -> new Positions(null,
                        PositionTables.slopes(alibi, form.heads(), device, arena));
                case Position.None none -> new Positions(null, null);
            };
        }

        /** ALiBi's slopes by the index of a query head (Press et al. 2021, arXiv 2108.12409). */
        public static Positions alibi(double maxBias, int heads, Device device, TensorArena arena) {
            return new Positions(null,
                    PositionTables.slopes(new Position.Alibi(maxBias, 1, DType.F32), heads, device, arena));
        }

        /** The same on the host: float32 values, exactly. */
        public static float[] alibi(double maxBias, int heads) {
            return slopes(new Position.Alibi(maxBias, 1, DType.F32), heads);
        }

        /** Those of a model, by the index of a query head: what the distance is multiplied by. */
        public static float[] slopes(Position.Alibi alibi, int heads) {
            return PositionTables.slopes(alibi, heads);
        }

        /** The slopes; there must be some. */
        public Tensor requireSlopes() {
            return Objects.requireNonNull(slopes, "attention without ALiBi");
        }
    }

    /**
     * The tables of NeuralOps.rotary.
     *
     * @param cos F32 [sequenceLength, rotaryDim / 2], as is sin
     */
    public record Rotation(Tensor cos, Tensor sin, RotaryLayout layout) {}
}
