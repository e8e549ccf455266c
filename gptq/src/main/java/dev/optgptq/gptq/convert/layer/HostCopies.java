package dev.optgptq.gptq.convert.layer;

import dev.optgptq.kernels.HostVectors;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Matrices between the device, where they are float32 or of 16 bits unless said otherwise, and the host, where they are float64. */
public record HostCopies(Device device) {

    /** Bytes that are copied at a time: fresh memory for whole matrices would cost as much as the copies. */
    private static final long PIECE_BYTES = 8L << 20;

    /** Rows of a matrix at a time, through memory on the host that serves for all of them. */
    private interface Piece {
        /** @param first row of rows */
        void copy(long first, Tensor rows, MemorySegment staging);
    }

    private static void inPieces(Tensor dense, Piece piece) {
        long rowBytes = Math.max(1, dense.columns() * dense.dtype().bytes());
        long most = Math.clamp(PIECE_BYTES / rowBytes, 1, Math.max(1, dense.rows()));
        try (Arena host = Arena.ofShared()) {
            MemorySegment staging = host.allocate(most * rowBytes, Double.BYTES);
            for (long row = 0; row < dense.rows(); row += most) {
                Tensor rows = dense.rows(row, Math.min(most, dense.rows() - row));
                piece.copy(row, rows, staging.asSlice(0, rows.bytes()));
            }
        }
    }

    public Matrix download(Tensor tensor) {
        if (tensor.isDense() && tensor.dtype() == DType.F32) {
            return downloadSingles(tensor);
        }
        try (TensorArena scratch = device.arena()) {
            return downloadSingles(single(tensor, scratch));
        }
    }

    private Matrix downloadSingles(Tensor dense) {
        double[] values = new double[Math.toIntExact(dense.elements())];
        inPieces(dense, (first, rows, staging) -> {
            device.download(rows, staging);
            int from = Math.toIntExact(first * dense.columns());
            for (int i = 0; i < rows.elements(); i++) {
                values[from + i] = staging.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            }
        });
        return Matrix.over(Math.toIntExact(dense.rows()), Math.toIntExact(dense.columns()), values);
    }

    /** A dense F32 copy. */
    Tensor single(Tensor tensor, TensorArena arena) {
        Tensor single = arena.matrix(DType.F32, tensor.rows(), tensor.columns());
        device.neural().convert(tensor, single);
        return single;
    }

    /** Writes to a tensor of the same shape, rounded to its dtype. */
    public void upload(Matrix matrix, Tensor target) {
        if (target.rows() != matrix.rows() || target.columns() != matrix.columns()) {
            throw new IllegalArgumentException(matrix + " to " + target);
        }
        if (target.isDense() && target.dtype() == DType.F32) {
            uploadSingles(matrix, target);
            return;
        }
        try (TensorArena scratch = device.arena()) {
            Tensor dense = scratch.matrix(DType.F32, target.rows(), target.columns());
            uploadSingles(matrix, dense);
            device.neural().convert(dense, target);
            device.synchronize();
        }
    }

    private void uploadSingles(Matrix matrix, Tensor dense) {
        int columns = matrix.columns();
        inPieces(dense, (first, rows, staging) -> {
            for (int row = 0; row < rows.rows(); row++) {
                for (int column = 0; column < columns; column++) {
                    staging.setAtIndex(ValueLayout.JAVA_FLOAT, (long) row * columns + column,
                            (float) matrix.at(Math.toIntExact(first) + row, column));
                }
            }
            device.upload(staging, rows);
            device.synchronize();
        });
    }

    /** A new tensor; the arena owns it. */
    public Tensor upload(Matrix matrix, TensorArena arena) {
        Tensor target = arena.matrix(DType.F32, matrix.rows(), matrix.columns());
        upload(matrix, target);
        return target;
    }

    /** Of a dense F64 tensor. */
    Matrix downloadDoubles(Tensor tensor) {
        double[] values = new double[Math.toIntExact(tensor.elements())];
        inPieces(tensor, (first, rows, staging) -> {
            device.download(rows, staging);
            MemorySegment.copy(staging, ValueLayout.JAVA_DOUBLE, 0, values, Math.toIntExact(first * tensor.columns()),
                    Math.toIntExact(rows.elements()));
        });
        return Matrix.over(Math.toIntExact(tensor.rows()), Math.toIntExact(tensor.columns()), values);
    }

    /** A new F64 tensor; the arena owns it. */
    Tensor uploadDoubles(Matrix matrix, TensorArena arena) {
        Tensor target = arena.matrix(DType.F64, matrix.rows(), matrix.columns());
        int columns = matrix.columns();
        inPieces(target, (first, rows, staging) -> {
            for (int row = 0; row < rows.rows(); row++) {
                for (int column = 0; column < columns; column++) {
                    staging.setAtIndex(ValueLayout.JAVA_DOUBLE, (long) row * columns + column,
                            matrix.at(Math.toIntExact(first) + row, column));
                }
            }
            device.upload(staging, rows);
            device.synchronize();
        });
        return target;
    }

    /** The one element of a float64 result. */
    public double number(Tensor result) {
        return HostVectors.doubles(device, result)[0];
    }
}
