package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.blas.DoubleBlas;
import dev.optgptq.kernels.blas.DoubleBlas.Strided;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.ops.Float64Ops;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/** Float64Ops on all cores: OpenBLAS on tiles that the shapes alone decide. */
record CpuFloat64Ops(DoubleBlas blas, Parallel parallel) implements Float64Ops {

    /** The tile of a result that one thread computes. */
    private static final long TILE_ROWS = 256;
    private static final long TILE_COLUMNS = 1024;

    private static final VectorSpecies<Double> DOUBLES = VectorSpecies.of(double.class, SPECIES.vectorShape());
    /** As many floats as there are doubles in a vector. */
    private static final VectorSpecies<Float> HALF_FLOATS = VectorSpecies.of(float.class,
            VectorShape.forBitSize(SPECIES.vectorBitSize() / 2));

    @Override
    public void multiply(double alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, double beta,
            Tensor c) {
        int inner = Math.toIntExact(transposeA ? a.rows() : a.columns());
        long down = Math.ceilDiv(c.rows(), TILE_ROWS);
        long across = Math.ceilDiv(c.columns(), TILE_COLUMNS);
        parallel.forEach(down * across, tile -> {
            long row = tile / across * TILE_ROWS;
            long column = tile % across * TILE_COLUMNS;
            int rows = (int) Math.min(TILE_ROWS, c.rows() - row);
            int columns = (int) Math.min(TILE_COLUMNS, c.columns() - column);
            blas.gemm(rows, columns, inner, alpha, strided(transposeA ? a.columns(row, rows) : a.rows(row, rows)),
                    transposeA, strided(transposeB ? b.rows(column, columns) : b.columns(column, columns)), transposeB,
                    beta, strided(c.rows(row, rows).columns(column, columns)));
        });
    }

    private static Strided strided(Tensor matrix) {
        return new Strided(matrix.memory(), Math.toIntExact(matrix.stride()));
    }

    @Override
    public void combine(double alpha, Tensor x, double beta, Tensor y) {
        boolean single = x.dtype() == DType.F32;
        int columns = Math.toIntExact(y.columns());
        Rows.forEach(parallel, y, row -> {
            long from = Memory.row(x, row);
            long to = Memory.row(y, row);
            int c = 0;
            for (; c <= columns - DOUBLES.length(); c += DOUBLES.length()) {
                DoubleVector scaled = (single ? widened(x.memory(), from + 4L * c) : load(x.memory(), from + 8L * c))
                        .mul(alpha);
                DoubleVector kept = beta == 0 ? DoubleVector.zero(DOUBLES) : load(y.memory(), to + 8L * c).mul(beta);
                scaled.add(kept).intoMemorySegment(y.memory(), to + 8L * c, ByteOrder.LITTLE_ENDIAN);
            }
            for (; c < columns; c++) {
                double scaled = alpha * (single
                        ? x.memory().get(Memory.FLOAT, from + 4L * c)
                        : x.memory().get(Memory.DOUBLE, from + 8L * c));
                double kept = beta == 0 ? 0 : beta * y.memory().get(Memory.DOUBLE, to + 8L * c);
                y.memory().set(Memory.DOUBLE, to + 8L * c, scaled + kept);
            }
        });
    }

    @Override
    public void innerProduct(Tensor a, Tensor b, Tensor result) {
        int columns = Math.toIntExact(a.columns());
        result.memory().set(Memory.DOUBLE, 0, CpuReductions.sum(parallel, a.rows(), columns,
                row -> dotRow(a.memory(), Memory.row(a, row), b.memory(), Memory.row(b, row), columns)));
    }

    private static double dotRow(MemorySegment a, long aAt, MemorySegment b, long bAt, int columns) {
        DoubleVector lanes = DoubleVector.zero(DOUBLES);
        int c = 0;
        for (; c <= columns - DOUBLES.length(); c += DOUBLES.length()) {
            lanes = load(a, aAt + 8L * c).fma(load(b, bAt + 8L * c), lanes);
        }
        double sum = 0;
        // Not reduceLanes, whose order is not defined.
        for (double lane : lanes.toArray()) {
            sum += lane;
        }
        for (; c < columns; c++) {
            sum += a.get(Memory.DOUBLE, aAt + 8L * c) * b.get(Memory.DOUBLE, bAt + 8L * c);
        }
        return sum;
    }

    private static DoubleVector widened(MemorySegment floats, long at) {
        return (DoubleVector) FloatVector.fromMemorySegment(HALF_FLOATS, floats, at, ByteOrder.LITTLE_ENDIAN)
                .convertShape(VectorOperators.F2D, DOUBLES, 0);
    }

    private static DoubleVector load(MemorySegment memory, long at) {
        return DoubleVector.fromMemorySegment(DOUBLES, memory, at, ByteOrder.LITTLE_ENDIAN);
    }

    @Override
    public boolean solve(Tensor a, Tensor b) {
        return new CpuCholesky(blas, parallel).solve(Math.toIntExact(a.rows()), Math.toIntExact(b.columns()),
                strided(a),
                strided(b));
    }
}
