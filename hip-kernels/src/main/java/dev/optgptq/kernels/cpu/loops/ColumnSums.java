package dev.optgptq.kernels.cpu.loops;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import org.jspecify.annotations.Nullable;

/** Sums over rows: within chunks of rows in parallel, then over the chunks in order. The chunks depend on the shape alone. */
public final class ColumnSums {

    private static final int CHUNK_ROWS = 64;

    private ColumnSums() {}

    /** Handles a row, and adds its terms to its chunk's sums, padded to whole vectors. */
    @FunctionalInterface
    public interface RowBody {
        void accept(long row, float[] sums);
    }

    /** Runs the body on every row; target [1, columns] += the sums, where it is wanted. */
    public static void chunks(Parallel parallel, long rows, int columns, @Nullable Tensor target, RowBody body) {
        if (columns == 0) {
            return;
        }
        float[][] sums = new float[Math.toIntExact(Math.ceilDiv(rows, (long) CHUNK_ROWS))][];
        parallel.forRanges(rows, CHUNK_ROWS, (from, to) -> {
            float[] mine = new float[Math.ceilDiv(columns, LANES) * LANES];
            for (long row = from; row < to; row++) {
                body.accept(row, mine);
            }
            sums[(int) (from / CHUNK_ROWS)] = mine;
        });
        if (target != null) {
            for (float[] part : sums) {
                addTo(target.memory(), part, columns);
            }
        }
    }

    private static void addTo(MemorySegment target, float[] part, int columns) {
        for (int c = 0; c < columns; c += LANES) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            FloatVector sum = Memory.load(target, 4L * c, lanes).add(FloatVector.fromArray(SPECIES, part, c));
            Memory.store(sum, target, 4L * c, lanes);
        }
    }

    /** sums += a row of x. */
    public static void addRow(MemorySegment x, long at, int columns, float[] sums) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.load(x, at + 4L * c).add(FloatVector.fromArray(SPECIES, sums, c)).intoArray(sums, c);
        }
        if (c < columns) {
            Memory.load(x, at + 4L * c, SPECIES.indexInRange(c, columns)).add(FloatVector.fromArray(SPECIES, sums, c))
                    .intoArray(sums, c);
        }
    }
}
