package dev.optgptq.gptq.run.memory;

import dev.optgptq.calibrate.capture.ParkedHessians;
import dev.optgptq.calibrate.capture.SitePasses;
import dev.optgptq.calibrate.family.ModelSpec;
import org.jspecify.annotations.Nullable;

/**
 * How many experts of a mixture have their Hessians in memory at once; the others' are summed in further passes through the
 * block. The result is the same.
 *
 * @param atOnce at least 1; of a model without a mixture any number
 * @param most experts of a block
 * @param parked bytes of the Hessians on the host between the passes; 0 with one pass
 * @param memoryBytes host memory above which they go to a temporary file
 */
public record Experts(int atOnce, int most, long parked, long memoryBytes) {

    /** For models without a mixture, and for runs that sum no Hessians or one at a time. */
    public static final Experts ALL = new Experts(Integer.MAX_VALUE, 0, 0, 0);

    /**
     * As many as are asked for, or as the Hessians' share of the memory allows.
     *
     * @param asked null for what has room
     * @param bytes of that share
     * @param memoryBytes host memory above which parked Hessians go to a temporary file
     */
    static Experts of(ModelSpec model, @Nullable Integer asked, long bytes, long memoryBytes) {
        int most = (int) model.most(SitePasses::experts);
        int atOnce = asked != null ? asked : Math.max(1, most);
        while (asked == null && atOnce > 1 && hessianBytes(model, atOnce, 1) > bytes) {
            atOnce = Math.ceilDiv(atOnce, 2);
        }
        return atOnce >= most
                ? new Experts(Math.max(1, most), most, 0, memoryBytes)
                : new Experts(atOnce, most, model.most(ParkedHessians::bytes), memoryBytes);
    }

    /** Device memory of the Hessians of a pass. */
    static long hessianBytes(ModelSpec model, int atOnce, int parts) {
        return model.most(block -> SitePasses.bytes(block, atOnce, parts));
    }

    /** The part of what is parked that is in host memory, not in a file. */
    long onHost() {
        return parked > memoryBytes ? 0 : parked;
    }
}
