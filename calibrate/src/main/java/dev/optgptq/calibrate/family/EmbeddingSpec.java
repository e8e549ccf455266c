package dev.optgptq.calibrate.family;

import org.jspecify.annotations.Nullable;

/**
 * How token ids become the residual stream: table[id] [project] [scale] [+ positions] [norm].
 *
 * @param table name on disk without ".weight", [vocabulary, width]
 * @param width of the table's rows; that of the residual stream unless there is a projection
 * @param projection a linear [hidden, width] after the table (opt-350m), by its module
 * @param scale multiplies every element; 1 for none
 * @param positions learned, one for each position
 */
public record EmbeddingSpec(String table, int width, @Nullable String projection, float scale,
        @Nullable Positions positions, @Nullable NormSpec norm) {

    /**
     * A table of learned positions, [rows, hidden].
     *
     * @param table name on disk without ".weight"
     * @param offset row of the first position
     */
    public record Positions(String table, int rows, int offset) {}
}
