package dev.optgptq.gptq.convert.merge;

import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Merges one frequency pair of the keys of r heads, as complex numbers z_h: c = sum_h t_h z_h, z_h ~ b_h c. The score of a pair
 * is Re(q conj(z)), and the rotations multiply both by the same phases, so a complex factor passes from keys to queries: q'_h
 * = conj(b_h) q_h.
 *
 * @param attendedKeys the mean of the group's
 * @param weightedQueries of each member
 */
record RotaryMerge(Dense dense, GroupMoments group, Matrix attendedKeys, List<Matrix> weightedQueries) {

    /** Added to a head's query energy, relative to the mean, to avoid division by zero. */
    private static final double LEAST_ENERGY = 1e-6;

    static RotaryMerge of(Dense dense, GroupMoments group) {
        return new RotaryMerge(dense, group, GroupMoments.mean(group.attendedKeys()),
                IntStream.range(0, group.members()).mapToObj(group::weightedQueries).toList());
    }

    /**
     * The factors of one pair.
     *
     * @param toShared t_h, [r][2]: real and imaginary part; fromShared b_h likewise
     */
    record Turn(double[][] toShared, double[][] fromShared, double residual) {

        /** Writes them as 2 x 2 matrices [[a, -b], [b, a]] to the pair's rows and columns. */
        void place(HeadLayout.Pair pair, int d, double[][] shared, List<double[][]> spread) {
            for (int head = 0; head < toShared.length; head++) {
                write(toShared[head], pair, head * d, shared);
                write(fromShared[head], pair, 0, spread.get(head));
            }
        }

        private static void write(double[] factor, HeadLayout.Pair pair, int column, double[][] target) {
            target[pair.real()][column + pair.real()] = factor[0];
            target[pair.real()][column + pair.imaginary()] = -factor[1];
            target[pair.imaginary()][column + pair.real()] = factor[1];
            target[pair.imaginary()][column + pair.imaginary()] = factor[0];
        }
    }

    /** By the top eigenvector v of D^1/2 F D^1/2, D the weighted query energies: t_h = conj(v_h) sqrt(D_h), b_h = v_h / sqrt(D_h). */
    Turn merge(HeadLayout.Pair pair) {
        int r = group.members();
        int d = group.headDim();
        double[] roots = roots(pair);
        Hermitian seen = Hermitian.of(attendedKeys, pair, r, d);
        Dense.Eigen eigen = dense.eigen(seen.scaled(roots).embedded());
        // Every eigenvalue is double, for v and iv; any vector of the two is v up to a phase.
        int top = 2 * r - 1;
        double[][] toShared = new double[r][2];
        double[][] fromShared = new double[r][2];
        for (int head = 0; head < r; head++) {
            double real = eigen.vectors().at(head, top);
            double imaginary = eigen.vectors().at(r + head, top);
            toShared[head] = new double[] {real * roots[head], -imaginary * roots[head]};
            fromShared[head] = new double[] {real / roots[head], imaginary / roots[head]};
        }
        Hermitian all = Hermitian.of(group.keys(), pair, r, d);
        double members = all.trace() / r;
        double shared = all.energy(toShared);
        double factor = members > 0 && shared > 0 ? Math.sqrt(members / shared) : 1;
        for (int head = 0; head < r; head++) {
            for (int part = 0; part < 2; part++) {
                toShared[head][part] *= factor;
                fromShared[head][part] /= factor;
            }
        }
        return new Turn(toShared, fromShared, eigen.residual(2));
    }

    private double[] roots(HeadLayout.Pair pair) {
        double[] energies = new double[group.members()];
        for (int member = 0; member < energies.length; member++) {
            Matrix queries = weightedQueries.get(member);
            energies[member] = queries.at(pair.real(), pair.real()) + queries.at(pair.imaginary(), pair.imaginary());
        }
        double mean = Arrays.stream(energies).average().orElse(0);
        return Arrays.stream(energies).map(energy -> mean > 0 ? Math.sqrt(energy + LEAST_ENERGY * mean) : 1)
                .toArray();
    }

    /** E[z_k conj(z_l)], [r, r]. */
    private record Hermitian(Matrix real, Matrix imaginary) {

        /** Of one pair, from the moments of the stacked real elements. */
        private static Hermitian of(Matrix moments, HeadLayout.Pair pair, int r, int d) {
            int re = pair.real();
            int im = pair.imaginary();
            return new Hermitian(
                    Matrix.generate(r, r, (k, l) -> moments.at(k * d + re, l * d + re)
                            + moments.at(k * d + im, l * d + im)),
                    Matrix.generate(r, r, (k, l) -> moments.at(k * d + im, l * d + re)
                            - moments.at(k * d + re, l * d + im)));
        }

        private Hermitian scaled(double[] roots) {
            return new Hermitian(scaled(real, roots), scaled(imaginary, roots));
        }

        private static Matrix scaled(Matrix m, double[] roots) {
            return Matrix.generate(m.rows(), m.columns(), (k, l) -> roots[k] * m.at(k, l) * roots[l]);
        }

        /** The real symmetric [[Re, -Im], [Im, Re]], [2 r, 2 r]: it acts on (Re v, Im v) as this does on v. */
        private Matrix embedded() {
            int r = real.rows();
            return Matrix.generate(2 * r, 2 * r, (i, j) -> {
                Matrix part = i / r == j / r ? real : imaginary;
                return (i < r && j >= r ? -1 : 1) * part.at(i % r, j % r);
            }).symmetrized();
        }

        private double trace() {
            return real.trace();
        }

        /** E|sum_h t_h z_h|^2 = sum_kl t_k E[z_k conj(z_l)] conj(t_l). */
        private double energy(double[][] t) {
            double sum = 0;
            for (int k = 0; k < t.length; k++) {
                for (int l = 0; l < t.length; l++) {
                    double re = t[k][0] * t[l][0] + t[k][1] * t[l][1];
                    double im = t[k][1] * t[l][0] - t[k][0] * t[l][1];
                    sum += re * real.at(k, l) - im * imaginary.at(k, l);
                }
            }
            return sum;
        }
    }
}
