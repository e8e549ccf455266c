package dev.optgptq.kernels.dense;

import java.util.function.DoubleBinaryOperator;
import java.util.function.DoubleUnaryOperator;
import java.util.function.IntToDoubleFunction;

/** A dense float64 matrix on the Java heap, row-major. Its values never change once it is made. */
public final class Matrix {

    /** Edge of what transposed moves at a time. */
    private static final int SQUARE = 32;

    private final int rows;
    private final int columns;
    private final double[] values;

    /** @param values row after row; taken over, not copied */
    Matrix(int rows, int columns, double[] values) {
        if (rows < 0 || columns < 0 || values.length != Math.multiplyExact(rows, columns)) {
            throw new IllegalArgumentException(rows + " x " + columns + " from " + values.length + " values");
        }
        this.rows = rows;
        this.columns = columns;
        this.values = values;
    }

    /** From values, row after row, which are copied. */
    public static Matrix of(int rows, int columns, double... values) {
        return new Matrix(rows, columns, values.clone());
    }

    /** From values, row after row, which are taken over: the caller must not write to them again. */
    public static Matrix over(int rows, int columns, double[] values) {
        return new Matrix(rows, columns, values);
    }

    /** From float32 values, row after row. */
    public static Matrix of(int rows, int columns, float[] values) {
        double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        return new Matrix(rows, columns, wide);
    }

    public static Matrix zeros(int rows, int columns) {
        return new Matrix(rows, columns, new double[Math.multiplyExact(rows, columns)]);
    }

    public static Matrix identity(int n) {
        return diagonal(n, i -> 1);
    }

    /** Square, zero beside the diagonal. */
    public static Matrix diagonal(int n, IntToDoubleFunction value) {
        return generate(n, n, (i, j) -> i == j ? value.applyAsDouble(i) : 0);
    }

    /** What an element is, from its row and column. */
    @FunctionalInterface
    public interface Element {
        double at(int row, int column);
    }

    public static Matrix generate(int rows, int columns, Element element) {
        double[] values = new double[Math.multiplyExact(rows, columns)];
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < columns; j++) {
                values[i * columns + j] = element.at(i, j);
            }
        }
        return new Matrix(rows, columns, values);
    }

    public int rows() {
        return rows;
    }

    public int columns() {
        return columns;
    }

    public double at(int row, int column) {
        return values[row * columns + column];
    }

    /** Row after row; not to be written. */
    double[] values() {
        return values;
    }

    /** Row after row, rounded to float32. */
    public float[] toFloats() {
        float[] floats = new float[values.length];
        for (int i = 0; i < floats.length; i++) {
            floats[i] = (float) values[i];
        }
        return floats;
    }

    /** Row after row, a copy. */
    public double[] toDoubles() {
        return values.clone();
    }

    /** In squares that stay in the first cache: strides of a large matrix meet a new page at each element. */
    public Matrix transposed() {
        double[] result = new double[values.length];
        for (int row = 0; row < rows; row += SQUARE) {
            for (int column = 0; column < columns; column += SQUARE) {
                transpose(row, column, result);
            }
        }
        return new Matrix(columns, rows, result);
    }

    private void transpose(int row, int column, double[] into) {
        int end = Math.min(rows, row + SQUARE);
        for (int j = column; j < Math.min(columns, column + SQUARE); j++) {
            for (int i = row; i < end; i++) {
                into[j * rows + i] = values[i * columns + j];
            }
        }
    }

    public Matrix plus(Matrix other) {
        return combine(other, Double::sum);
    }

    public Matrix minus(Matrix other) {
        return combine(other, (a, b) -> a - b);
    }

    private Matrix combine(Matrix other, DoubleBinaryOperator operator) {
        if (rows != other.rows || columns != other.columns) {
            throw new IllegalArgumentException(this + " and " + other);
        }
        double[] result = new double[values.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = operator.applyAsDouble(values[i], other.values[i]);
        }
        return new Matrix(rows, columns, result);
    }

    public Matrix times(double factor) {
        double[] result = new double[values.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = values[i] * factor;
        }
        return new Matrix(rows, columns, result);
    }

    /** Every element replaced by a function of it. */
    public Matrix map(DoubleUnaryOperator function) {
        double[] result = new double[values.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = function.applyAsDouble(values[i]);
        }
        return new Matrix(rows, columns, result);
    }

    /** The same columns scaled, column j by factors[j]. */
    public Matrix scaleColumns(double[] factors) {
        return generate(rows, columns, (i, j) -> at(i, j) * factors[j]);
    }

    /** (a + a^T) / 2. */
    public Matrix symmetrized() {
        return generate(rows, columns, (i, j) -> 0.5 * (at(i, j) + at(j, i)));
    }

    /** A copy of [fromRow, fromRow + height) x [fromColumn, fromColumn + width). */
    public Matrix block(int fromRow, int fromColumn, int height, int width) {
        double[] result = new double[Math.multiplyExact(height, width)];
        for (int i = 0; i < height; i++) {
            System.arraycopy(values, (fromRow + i) * columns + fromColumn, result, i * width, width);
        }
        return new Matrix(height, width, result);
    }

    /** A copy of some rows. */
    public Matrix rows(int from, int count) {
        return block(from, 0, count, columns);
    }

    /** A copy of some columns. */
    public Matrix columns(int from, int count) {
        return block(0, from, rows, count);
    }

    /** Matrices of equal width, one under the other. */
    public static Matrix stack(Iterable<Matrix> parts) {
        int height = 0;
        int width = 0;
        for (Matrix part : parts) {
            height += part.rows;
            width = part.columns;
        }
        double[] result = new double[Math.multiplyExact(height, width)];
        int at = 0;
        for (Matrix part : parts) {
            if (part.columns != width) {
                throw new IllegalArgumentException(part + " in a stack of width " + width);
            }
            System.arraycopy(part.values, 0, result, at, part.values.length);
            at += part.values.length;
        }
        return new Matrix(height, width, result);
    }

    /** Square: the sum of the diagonal. */
    public double trace() {
        double sum = 0;
        for (int i = 0; i < Math.min(rows, columns); i++) {
            sum += at(i, i);
        }
        return sum;
    }

    /** The sum over all elements of a b: trace(a^T b). */
    public double dot(Matrix other) {
        if (rows != other.rows || columns != other.columns) {
            throw new IllegalArgumentException(this + " and " + other);
        }
        double sum = 0;
        for (int i = 0; i < values.length; i++) {
            sum += values[i] * other.values[i];
        }
        return sum;
    }

    /** The root of the sum of squares. */
    public double norm() {
        return Math.sqrt(dot(this));
    }

    @Override
    public String toString() {
        return "[" + rows + ", " + columns + "]";
    }
}
