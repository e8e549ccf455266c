package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import java.util.stream.IntStream;

/**
 * The windows of a text, in order: those that are trained on, then the held-out ones.
 *
 * @param windows all of them
 * @param trained number of training windows
 */
record HealTokens(TokenSequences windows, int trained) {

    private static final int MOST_HELD_OUT = 64;
    /** One in this many windows of the text is held out. */
    private static final int HELD_OUT_SHARE = 10;

    /**
     * Its last windows are held out.
     *
     * @param windows all of a text, in order
     */
    static HealTokens of(TokenSequences windows) {
        int heldOut = Math.clamp(windows.count() / HELD_OUT_SHARE, 1, MOST_HELD_OUT);
        int first = windows.count() - heldOut;
        if (first < 1) {
            throw new UserError(Code.BAD_TEXT, "the text to heal with holds " + windows.count() + " windows of "
                    + windows.length() + " tokens; some are held out, so at least 2 are needed. Give more text, or a "
                    + "shorter --heal-length");
        }
        return new HealTokens(windows, first);
    }

    int length() {
        return windows.length();
    }

    TokenSequences training() {
        return windows.select(IntStream.range(0, trained).toArray());
    }

    TokenSequences heldOut() {
        return windows.select(IntStream.range(trained, windows.count()).toArray());
    }
}
