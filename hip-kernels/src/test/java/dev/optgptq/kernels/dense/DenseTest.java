package dev.optgptq.kernels.dense;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.junit.jupiter.api.Test;

class DenseTest {

    private static final long SEED = 71;
    private final Dense dense = Dense.open(2);

    @AfterEach
    void close() {
        dense.close();
    }

    private static Matrix random(int rows, int columns, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        return Matrix.generate(rows, columns, (i, j) -> random.nextDouble(-1, 1));
    }

    private static void assertClose(Matrix expected, Matrix found, double tolerance) {
        double distance = expected.minus(found).norm();
        assertTrue(distance <= tolerance * Math.max(1, expected.norm()),
                () -> "seed " + SEED + ": distance " + distance + " between matrices " + expected);
    }

    /** Larger than what one thread computes at a time. */
    @Test
    void everyNumberOfThreadsGivesTheSameBits() {
        Matrix a = random(600, 300, SEED);
        Matrix b = random(300, 300, SEED + 1);
        try (Dense one = Dense.open(1); Dense three = Dense.open(3)) {
            assertArrayEquals(one.multiply(a, b).toDoubles(), three.multiply(a, b).toDoubles());
        }
    }

    @Test
    void matricesBesideEachOtherComeInTheirOrderAndAnErrorOfOneAsItIs() {
        Matrix a = random(600, 300, SEED);
        Matrix b = random(300, 300, SEED + 1);
        List<Matrix> each = dense.each(3, i -> dense.multiply(a, b.times(i)));
        for (int i = 0; i < 3; i++) {
            assertArrayEquals(dense.multiply(a, b.times(i)).toDoubles(), each.get(i).toDoubles(), "matrix " + i);
        }
        assertThrows(UserError.class, () -> dense.each(3, i -> dense.eigen(Matrix.of(1, 1, Double.NaN)).vectors()));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 7, 33, 64})
    void productsAreSumsOverTheInnerDimension(int n) {
        Matrix a = random(n, n + 3, SEED);
        Matrix b = random(n + 3, n + 1, SEED + 1);
        Matrix expected = Matrix.generate(n, n + 1, (i, j) -> {
            double sum = 0;
            for (int k = 0; k < n + 3; k++) {
                sum += a.at(i, k) * b.at(k, j);
            }
            return sum;
        });
        assertClose(expected, dense.multiply(a, b), 1e-14);
        assertClose(expected, dense.transposedMultiply(a.transposed(), b), 1e-14);
        assertClose(expected, dense.multiplyTransposed(a, b.transposed()), 1e-14);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 5, 40})
    void eigenvectorsDiagonalizeInAscendingOrder(int n) {
        Matrix a = random(n, n, SEED).symmetrized();
        Dense.Eigen eigen = dense.eigen(a);
        Matrix again = dense.multiplyTransposed(eigen.vectors().scaleColumns(eigen.values()), eigen.vectors());
        assertClose(a, again, 1e-13);
        for (int i = 1; i < n; i++) {
            assertTrue(eigen.values()[i - 1] <= eigen.values()[i], "seed " + SEED);
        }
    }

    @Test
    void roots_multiply_to_the_matrix_and_to_one() {
        Matrix factor = random(12, 12, SEED);
        Matrix a = dense.multiplyTransposed(factor, factor);
        Dense.Root root = dense.root(a, 1e-12);
        assertClose(a, dense.multiply(root.root(), root.root()), 1e-12);
        assertClose(Matrix.identity(12), dense.multiply(root.root(), root.inverse()), 1e-6);
    }

    @Test
    void of_a_singular_matrix_the_smallest_eigenvalues_are_lifted() {
        Dense.Root root = dense.root(Matrix.diagonal(2, i -> i), 1e-6);
        assertEquals(Math.sqrt(0.5e-6), root.root().at(0, 0), 1e-12);
        assertEquals(1, root.inverse().at(1, 1), 1e-12);
    }

    @Test
    void the_residual_is_the_share_outside_the_top() {
        assertEquals(0.25, dense.eigen(Matrix.diagonal(3, i -> new double[] {6, 1, 1}[i])).residual(1), 1e-12);
    }

    @Test
    void an_eigenproblem_that_is_not_finite_is_refused() {
        UserError error = assertThrows(UserError.class, () -> dense.eigen(Matrix.of(1, 1, Double.NaN)));
        assertEquals(UserError.Code.NUMERIC, error.code());
    }
}
