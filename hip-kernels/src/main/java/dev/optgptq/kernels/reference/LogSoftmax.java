package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.Tensor;

/** log softmax of a row of logits, in float64. */
final class LogSoftmax {

    private LogSoftmax() {}

    /** (x - max) - log(sum exp(x - max)), in this order: beside a large maximum the logarithm would be rounded away. */
    static double[] of(Tensor logits, long row) {
        double[] x = new double[Math.toIntExact(logits.columns())];
        double max = Double.NEGATIVE_INFINITY;
        for (int c = 0; c < x.length; c++) {
            x[c] = Elements.get(logits, row, c);
            max = Math.max(max, x[c]);
        }
        double sum = 0;
        for (int c = 0; c < x.length; c++) {
            x[c] -= max;
            sum += Math.exp(x[c]);
        }
        for (int c = 0; c < x.length; c++) {
            x[c] -= Math.log(sum);
        }
        return x;
    }
}
