package dev.optgptq.calibrate.capture;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import java.util.List;
import java.util.Set;
import java.util.function.IntToLongFunction;
import org.jspecify.annotations.Nullable;

/**
 * How many experts of a mixture have their Hessians in memory at once; the others' are summed in further passes through the
 * block. The result is the same.
 *
 * @param atOnce at least 1; of a model without a mixture any number
 * @param most experts of a block
 * @param parked bytes of what is kept on the host between the passes; 0 with one pass
 * @param memoryBytes host memory above which that goes to a temporary file
 */
public record ExpertPasses(int atOnce, int most, long parked, long memoryBytes) {

    /** For models without a mixture, and for runs that sum no Hessians or one at a time. */
    public static final ExpertPasses ALL = new ExpertPasses(Integer.MAX_VALUE, 0, 0, 0);

    /**
     * As many as are asked for, or as there is room for.
     *
     * @param asked null for what has room
     * @param bytes that the Hessians of a number of experts take
     * @param room for them
     * @param parked bytes of what is kept on the host with more than one pass
     * @param memoryBytes host memory above which that goes to a temporary file
     */
    public static ExpertPasses of(ModelSpec model, @Nullable Integer asked, IntToLongFunction bytes, long room,
            long parked, long memoryBytes) {
        int most = (int) model.most(SitePasses::experts);
        int atOnce = asked != null ? asked : Math.max(1, most);
        while (asked == null && atOnce > 1 && bytes.applyAsLong(atOnce) > room) {
            atOnce = Math.ceilDiv(atOnce, 2);
        }
        return atOnce >= most
                ? new ExpertPasses(Math.max(1, most), most, 0, memoryBytes)
                : new ExpertPasses(atOnce, most, parked, memoryBytes);
    }

    /** See {@link SitePasses#of}. */
    public List<Set<InputSite>> passes(BlockSpec block, Set<InputSite> wanted) {
        return SitePasses.of(block, wanted, atOnce);
    }

    /** Whether a block's experts come in more than one pass. */
    public boolean areSeveral(BlockSpec block) {
        return SitePasses.experts(block) > atOnce;
    }

    /** The part of what is parked that is in host memory, not in a file. */
    public long onHost() {
        return parked > memoryBytes ? 0 : parked;
    }

    /** Above how many bytes a buffer of parked things is a file: all of them are, or none. */
    public long bufferLimit() {
        return parked > memoryBytes ? 0 : Long.MAX_VALUE;
    }
}
