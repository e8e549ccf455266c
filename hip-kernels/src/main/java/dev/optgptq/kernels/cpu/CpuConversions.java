package dev.optgptq.kernels.cpu;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.FloatRounding;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.HalfVectors;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.ops.Arguments;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Conversion between float dtypes and embedding, rows in parallel. */
final class CpuConversions {

    private CpuConversions() {}

    static void convert(Parallel parallel, Tensor source, Tensor target) {
        int columns = Math.toIntExact(source.columns());
        Rows.forEach(parallel, source, row -> convertRow(source, row, target, row, columns));
    }

    static void embed(Parallel parallel, Tensor ids, Tensor table, Tensor out) {
        int columns = Math.toIntExact(out.columns());
        Rows.forEach(parallel, out, row -> {
            int id = Arguments.token("embed", ids.memory().get(Memory.INT, 4 * row), row, table.rows());
            if (table.memory().isMapped()) {
                embedMapped(table, id, out, row, columns);
            } else {
                convertRow(table, id, out, row, columns);
            }
        });
    }

    /** A mapped file can shrink: a copy of the row then throws, where vector code would end the process. */
    private static void embedMapped(Tensor table, int id, Tensor out, long row, int columns) {
        long bytes = (long) columns * table.dtype().bytes();
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment copy = scratch.allocate(Math.max(1, bytes), Float.BYTES);
            MemorySegment.copy(table.memory(), Memory.row(table, id), copy, 0, bytes);
            convertRow(Tensor.dense(table.dtype(), 1, columns, copy), 0, out, row, columns);
        }
    }

    /** The pairs that models meet have vector loops; the others go through double, which holds them all exactly. */
    private static void convertRow(Tensor source, long sourceRow, Tensor target, long targetRow, int columns) {
        MemorySegment from = source.memory();
        MemorySegment to = target.memory();
        long fromAt = Memory.row(source, sourceRow);
        long toAt = Memory.row(target, targetRow);
        if (source.dtype() == target.dtype()) {
            MemorySegment.copy(from, fromAt, to, toAt, (long) columns * source.dtype().bytes());
        } else if (source.dtype() == DType.BF16 && target.dtype() == DType.F32) {
            HalfVectors.widenBf16(from, fromAt, to, toAt, columns);
        } else if (source.dtype() == DType.F16 && target.dtype() == DType.F32) {
            HalfVectors.widenFloat16(from, fromAt, to, toAt, columns);
        } else if (source.dtype() == DType.F32 && target.dtype() == DType.BF16) {
            HalfVectors.narrowToBf16(from, fromAt, to, toAt, columns);
        } else {
            for (int c = 0; c < columns; c++) {
                double value = get(from, source.dtype(), fromAt + (long) c * source.dtype().bytes());
                set(to, target.dtype(), toAt + (long) c * target.dtype().bytes(), value);
            }
        }
    }

    private static double get(MemorySegment memory, DType dtype, long offset) {
        return switch (dtype) {
            case F64 -> memory.get(Memory.DOUBLE, offset);
            case F32 -> memory.get(Memory.FLOAT, offset);
            case F16 -> Float.float16ToFloat(memory.get(Memory.SHORT, offset));
            case BF16 -> FloatRounding.bf16ToFloat(memory.get(Memory.SHORT, offset));
            default -> throw new IllegalArgumentException("not a float dtype: " + dtype);
        };
    }

    private static void set(MemorySegment memory, DType dtype, long offset, double value) {
        switch (dtype) {
            case F64 -> memory.set(Memory.DOUBLE, offset, value);
            case F32 -> memory.set(Memory.FLOAT, offset, (float) value);
            case F16 -> memory.set(Memory.SHORT, offset, FloatRounding.doubleToFloat16(value));
            case BF16 -> memory.set(Memory.SHORT, offset, FloatRounding.doubleToBf16(value));
            default -> throw new IllegalArgumentException("not a float dtype: " + dtype);
        }
    }
}
