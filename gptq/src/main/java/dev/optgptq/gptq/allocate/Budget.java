package dev.optgptq.gptq.allocate;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** How large a checkpoint may be. */
public sealed interface Budget {

    /** As the command line writes it. */
    String words();

    /**
     * Bytes for the packed linears.
     *
     * @param weights in them
     * @param keptBytes of everything else in the checkpoint
     */
    long bytes(long weights, long keptBytes);

    /**
     * Bits that a quantized weight takes on average, with its share of scales, zero points and groups.
     *
     * @param bits more than 0
     */
    record AverageBits(double bits) implements Budget {

        @Override
        public String words() {
            return "--average-bits " + bits;
        }

        @Override
        public long bytes(long weights, long keptBytes) {
            return (long) Math.floor(bits * weights / Byte.SIZE);
        }
    }

    /** Bytes of all tensors. */
    record TargetSize(String text, long size) implements Budget {

        private static final Pattern SIZE = Pattern.compile("([0-9]{1,9}(?:\\.[0-9]{1,9})?)([kMGT]?)(i?)B");
        private static final String POWERS = " kMGT";

        /** "4.2GB", or "4GiB" in powers of 1024. Throws UserError BAD_SETTING. */
        public static TargetSize of(String text) {
            Matcher size = SIZE.matcher(text);
            if (!size.matches()) {
                throw new UserError(Code.BAD_SETTING,
                        "--target-size: expected a size such as 4.2GB or 900MiB, found " + text);
            }
            double unit = Math.pow(size.group(3).isEmpty() ? 1000 : 1024,
                    size.group(2).isEmpty() ? 0 : POWERS.indexOf(size.group(2)));
            return new TargetSize(text, (long) (Double.parseDouble(size.group(1)) * unit));
        }

        @Override
        public String words() {
            return "--target-size " + text;
        }

        @Override
        public long bytes(long weights, long keptBytes) {
            return size - keptBytes;
        }
    }

    /** Neither or one of the two. Throws UserError BAD_SETTING for both. */
    static @Nullable Budget of(@Nullable Double averageBits, @Nullable String targetSize) {
        if (averageBits != null && targetSize != null) {
            throw new UserError(Code.BAD_SETTING, String.format(Locale.ROOT,
                    "--average-bits %s: expected no --target-size beside it, found %s; give one of them", averageBits,
                    targetSize));
        }
        return averageBits != null
                ? new AverageBits(averageBits)
                : targetSize == null ? null : TargetSize.of(targetSize);
    }
}
