package dev.optgptq.formats.gguf;

import java.util.function.IntUnaryOperator;
import java.util.function.ToIntFunction;
import tools.jackson.databind.JsonNode;

/**
 * Which rows of a checkpoint's matrix a tensor of the file has, and in which order (convert_hf_to_gguf.py: permute, and the classes of
 * the families).
 *
 * @param description of a family: "rows" by tensors, and "cut" for matrices that are several tensors in the file
 * @param counts numbers of heads, by their keys in the file's metadata
 */
record GgufRows(JsonNode description, ToIntFunction<String> counts) {

    private static final String HEADS = "attention.head_count";
    private static final String KV_HEADS = "attention.head_count_kv";
    private static final int HALVES = 2;

    /** Row r is row r. */
    static final IntUnaryOperator SAME = row -> row;

    /**
     * Rows of a tensor.
     *
     * @param order of row r of the file, the row of the checkpoint
     */
    record Rows(int count, IntUnaryOperator order) {}

    /**
     * Those of a tensor that is one of so many pieces of a matrix of so many rows.
     *
     * @param tensor its name in the file
     */
    Rows of(String tensor, int piece, int pieces, int rows) {
        if (pieces == 1) {
            return new Rows(rows, order(tensor, rows));
        }
        Rows cut = pieces == HALVES ? half(piece, rows) : heads(piece, rows);
        IntUnaryOperator within = order(tensor, cut.count());
        return new Rows(cut.count(), row -> cut.order().applyAsInt(within.applyAsInt(row)));
    }

    /** Of gates and what they multiply: one after the other, or by turns ("interleaved"). */
    private Rows half(int piece, int rows) {
        int count = rows / HALVES;
        boolean byTurns = description.path("cut").asString("").equals("interleaved");
        return new Rows(count, byTurns ? row -> HALVES * row + piece : row -> piece * count + row);
    }

    /** Of queries, keys and values: one after the other, or each KV head after its queries ("groups"). */
    private Rows heads(int piece, int rows) {
        int queries = counts.applyAsInt(HEADS);
        int groups = counts.applyAsInt(KV_HEADS);
        int width = rows / (queries + 2 * groups);
        int first = piece == 0 ? 0 : width * (queries + (piece - 1) * groups);
        IntUnaryOperator all = description.path("cut").asString("").equals("groups")
                ? fromGroups(queries, groups, rows)
                : SAME;
        return new Rows(width * (piece == 0 ? queries : groups), row -> all.applyAsInt(first + row));
    }

    /**
     * Rotary pairs are neighbours in GGUF's llama, and half a head apart in a checkpoint ("pairs", of so many heads; "pairsOf", of heads of
     * so many elements, where layers have their own numbers of heads). Queries, keys and
     * values that a checkpoint has KV head by KV head are three blocks in GGUF ("groups", of so many "queries").
     */
    private IntUnaryOperator order(String tensor, int rows) {
        JsonNode order = description.path("rows").path(GgufFamily.last(tensor));
        if (order.has("pairs") || order.has("pairsOf")) {
            int headDim = order.has("pairs")
                    ? rows / counts.applyAsInt(order.path("pairs").stringValue())
                    : counts.applyAsInt(order.path("pairsOf").stringValue());
            return row -> {
                int inHead = row % headDim;
                return row - inHead + inHead % 2 * (headDim / 2) + inHead / 2;
            };
        }
        if (order.has("groups")) {
            return fromGroups(counts.applyAsInt(order.path("queries").stringValue()),
                    counts.applyAsInt(order.path("groups").stringValue()), rows);
        }
        return SAME;
    }

    /** Of row r of all queries, then all keys, then all values, the row where each group has its queries, its key and its value. */
    private static IntUnaryOperator fromGroups(int heads, int groups, int rows) {
        int queries = heads / groups;
        int width = rows / (groups * (queries + 2));
        return row -> {
            int head = row / width;
            int other = head - groups * queries;
            int source = other < 0
                    ? head / queries * (queries + 2) + head % queries
                    : other % groups * (queries + 2) + queries + other / groups;
            return source * width + row % width;
        };
    }
}
