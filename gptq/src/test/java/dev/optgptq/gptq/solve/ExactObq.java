package dev.optgptq.gptq.solve;

/**
 * GPTQ without its tricks, in float64, as the Optimal Brain Surgeon step reads (GPTQ paper, equations 2 and 3): after each
 * input the remaining inverse Hessian is found by eliminating that input, with no Cholesky factor, no blocks and no lazy
 * updates. Independent of the solver's code.
 */
final class ExactObq {

    private ExactObq() {}

    /**
     * @param w [out][in]
     * @param h [in][in], damped
     * @param scale one symmetric scale per [out][group]
     * @return codes [out][in]
     */
    static int[][] solve(double[][] w, double[][] h, double[][] scale, int groupSize, int zero, int maxCode) {
        int n = h.length;
        int[][] codes = new int[w.length][n];
        double[][] weights = java.util.Arrays.stream(w).map(double[]::clone).toArray(double[][]::new);
        double[][] inverse = invert(h);
        for (int i = 0; i < n; i++) {
            for (int row = 0; row < w.length; row++) {
                double s = scale[row][i / groupSize];
                int code = (int) Math.clamp(Math.rint(weights[row][i] / s) + zero, 0, maxCode);
                codes[row][i] = code;
                double error = (weights[row][i] - s * (code - zero)) / inverse[i][i];
                for (int j = i + 1; j < n; j++) {
                    weights[row][j] -= error * inverse[i][j];
                }
            }
            eliminate(inverse, i);
        }
        return codes;
    }

    /** The inverse of h without row and column i, kept in place (equation 3). */
    private static void eliminate(double[][] inverse, int i) {
        int n = inverse.length;
        for (int a = i + 1; a < n; a++) {
            double factor = inverse[a][i] / inverse[i][i];
            for (int b = i + 1; b < n; b++) {
                inverse[a][b] -= factor * inverse[i][b];
            }
        }
    }

    /** Gauss-Jordan with partial pivoting. */
    static double[][] invert(double[][] matrix) {
        int n = matrix.length;
        double[][] a = new double[n][2 * n];
        for (int i = 0; i < n; i++) {
            System.arraycopy(matrix[i], 0, a[i], 0, n);
            a[i][n + i] = 1;
        }
        for (int column = 0; column < n; column++) {
            int pivot = column;
            for (int row = column + 1; row < n; row++) {
                pivot = Math.abs(a[row][column]) > Math.abs(a[pivot][column]) ? row : pivot;
            }
            double[] swap = a[column];
            a[column] = a[pivot];
            a[pivot] = swap;
            double divisor = a[column][column];
            for (int j = 0; j < 2 * n; j++) {
                a[column][j] /= divisor;
            }
            for (int row = 0; row < n; row++) {
                double factor = row == column ? 0 : a[row][column];
                for (int j = 0; factor != 0 && j < 2 * n; j++) {
                    a[row][j] -= factor * a[column][j];
                }
            }
        }
        return java.util.Arrays.stream(a).map(row -> java.util.Arrays.copyOfRange(row, n, 2 * n))
                .toArray(double[][]::new);
    }
}
