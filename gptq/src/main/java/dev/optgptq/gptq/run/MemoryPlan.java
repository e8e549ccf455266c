package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.model.InputSite;
import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.calibrate.model.ModelSpec;
import dev.optgptq.formats.UserError;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * What a run will need at its peak, computed before it starts. All in bytes.
 *
 * @param weights one decoder block, F32
 * @param hessians one F32 [n, n] per site
 * @param solving the damped copy and the factor of the largest site, and the copies of the largest linear
 * @param forward buffers of one batch
 * @param activations the residual stream, if it is held in memory
 * @param spilled the residual stream, if it is too large for memory and goes to a temporary file
 */
record MemoryPlan(long weights, long hessians, long solving, long forward, long activations, long spilled) {

    /** The JVM, its heap and the libraries: measured, not computed. */
    private static final long PROCESS = 250L << 20;
    /** Share of the available memory that the residual stream may take. */
    private static final double STREAM_SHARE = 0.25;

    /** @param rows calibration tokens, 0 when the calibrator needs none */
    static MemoryPlan of(ModelSpec model, long rows, int batchRows, long available) {
        List<LinearSpec> linears = model.linears(0);
        Map<InputSite, Long> sites = new EnumMap<>(InputSite.class);
        linears.forEach(linear -> sites.put(linear.site(), square(linear.inputs())));
        long weights = linears.stream().mapToLong(MemoryPlan::bytes).sum();
        long largestLinear = linears.stream().mapToLong(MemoryPlan::bytes).max().orElse(0);
        long hessians = rows == 0 ? 0 : sites.values().stream().mapToLong(Long::longValue).sum();
        long largestSite = rows == 0 ? 0 : sites.values().stream().mapToLong(Long::longValue).max().orElse(0);
        long solving = 2 * largestSite + 4 * largestLinear;
        long widest = linears.stream().mapToLong(linear -> linear.inputs() + (long) linear.outputs()).max().orElse(0);
        long forward = rows == 0 ? 0 : 4L * batchRows * (3L * model.hiddenSize() + 2 * widest);
        long stream = 4L * rows * model.hiddenSize();
        boolean spill = stream > streamLimit(available);
        return new MemoryPlan(weights, hessians, solving, forward, spill ? 0 : stream, spill ? stream : 0);
    }

    /** The largest residual stream that is held in memory. */
    static long streamLimit(long available) {
        return (long) (STREAM_SHARE * Math.min(available, 1L << 50));
    }

    long total() {
        return PROCESS + weights + hessians + Math.max(solving, forward) + activations;
    }

    /** Throws UserError MEMORY when the plan cannot work. */
    void require(long available) {
        if (total() > available) {
            throw new UserError(UserError.Code.MEMORY,
                    "this run needs about " + mebibytes(total()) + " of memory (" + this + "), and "
                            + mebibytes(available)
                            + " are free. Close other programs, or use a machine with more memory; a smaller "
                            + "--sequence-length lowers the batch buffers only");
        }
    }

    private static long square(long n) {
        return 4 * n * n;
    }

    private static long bytes(LinearSpec linear) {
        return 4L * linear.inputs() * linear.outputs();
    }

    private static String mebibytes(long bytes) {
        return (bytes >> 20) + " MiB";
    }

    @Override
    public String toString() {
        return "one block of weights " + mebibytes(weights) + ", Hessians " + mebibytes(hessians) + ", solving "
                + mebibytes(solving) + ", activations " + mebibytes(activations + forward)
                + (spilled > 0 ? ", " + mebibytes(spilled) + " in a temporary file" : "") + ", process "
                + mebibytes(PROCESS);
    }
}
