package dev.optgptq.gptq.convert.fit;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** Float64 matrices in a device's memory: what fits need beside the ops. */
public record DeviceAlgebra(Device device) implements Vectors {

    /** A new copy of a matrix, F32 or F64. */
    public Tensor copy(Tensor x, TensorArena arena) {
        Tensor copy = arena.matrix(DType.F64, x.rows(), x.columns());
        device.float64().combine(1, x, 0, copy);
        return copy;
    }

    /** op(a) op(b), transposed where asked. */
    Tensor product(Tensor a, boolean transposeA, Tensor b, boolean transposeB, TensorArena arena) {
        Tensor product = arena.matrix(DType.F64, transposeA ? a.columns() : a.rows(),
                transposeB ? b.rows() : b.columns());
        device.float64().multiply(1, a, transposeA, b, transposeB, 0, product);
        return product;
    }

    @Override
    public DType dtype() {
        return DType.F64;
    }

    @Override
    public void combine(double alpha, Tensor x, double beta, Tensor y) {
        device.float64().combine(alpha, x, beta, y);
    }

    /** y += alpha x. */
    void add(double alpha, Tensor x, Tensor y) {
        combine(alpha, x, 1, y);
    }

    @Override
    public double dot(Tensor a, Tensor b) {
        try (TensorArena scratch = device.arena()) {
            Tensor result = scratch.vector(DType.F64, 1);
            device.float64().innerProduct(a, b, result);
            return HostVectors.doubles(device, result)[0];
        }
    }

    /** A square matrix's diagonal as a column, sharing memory. */
    private static Tensor diagonal(Tensor a) {
        return new Tensor(a.dtype(), a.rows(), Math.min(1, a.rows()), a.stride() + 1, a.memory());
    }

    private Tensor ones(long rows, TensorArena arena) {
        Tensor ones = arena.matrix(DType.F64, rows, Math.min(1, rows));
        device.matrix().fill(ones, 1);
        return ones;
    }

    /** Of a square matrix; 0 where there is none. */
    public double meanDiagonal(Tensor a) {
        try (TensorArena scratch = device.arena()) {
            return a.rows() == 0 ? 0 : dot(diagonal(a), ones(a.rows(), scratch)) / a.rows();
        }
    }

    /** Adds a number to the diagonal of a square matrix. */
    public void addToDiagonal(double value, Tensor a) {
        try (TensorArena scratch = device.arena()) {
            add(value, ones(a.rows(), scratch), diagonal(a));
        }
    }

    /**
     * into = a^-1 of a symmetric positive definite matrix, which is overwritten.
     *
     * @return false where it is not
     */
    public boolean invert(Tensor a, Tensor into) {
        device.matrix().fill(into, 0);
        addToDiagonal(1, into);
        return device.float64().solve(a, into);
    }
}
