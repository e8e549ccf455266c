package dev.optgptq.gptq.bench;

import dev.optgptq.gptq.report.RunReport;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Measurements of a device at a shape. Times in seconds, rates per second.
 *
 * @param schemaVersion 1
 * @param tool name and version of this program
 * @param shape a name, or the path of a config.json
 * @param calibrator of the job, as quantize names it
 * @param products matmul dtype of the linears: F32, F16 or BF16
 * @param batchRows tokens that the ops were timed with
 * @param ops each op of a block at that shape
 * @param job the whole job by phases
 * @param seconds the whole job
 * @param memory of the job, in bytes
 */
public record BenchReport(int schemaVersion, String tool, String shape, String device, String deviceDescription,
        String calibrator, String products, int samples, int sequenceLength, int batchRows, Rates rates,
        List<Entry> ops, List<Entry> job,
        double seconds, RunReport.Memory memory) {

    /**
     * Rates of the device, measured in the same process.
     *
     * @param size of the square matrices
     * @param float32 operations of a float32 matmul
     * @param half operations of an fp16/bf16 matmul: in the matmul dtype, or BF16 if that is F32; null if the device
     *     widens them
     * @param copy bytes read and written by a copy on the device
     * @param upload bytes from the host to the device
     */
    public record Rates(long size, double float32, @Nullable Double half, double copy, double upload) {}

    /**
     * An op or a phase.
     *
     * @param operations floating-point operations it must do
     * @param bytes it must read and write, 0 where that is not the limit
     * @param limit the longer of the times for its operations and its bytes at the device's rates; 0 if neither is
     *     known
     */
    public record Entry(String name, String size, double seconds, double operations, double bytes, double limit) {

        /** The limit divided by the measured time. */
        public double share() {
            return limit / seconds;
        }
    }
}
