package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import java.util.stream.IntStream;

/**
 * The training tokens, followed by the held-out ones.
 *
 * @param text all sequences
 * @param trained number of training sequences
 */
record HealTokens(TokenSequences text, int trained) {

    private static final int MOST_HELD_OUT = 64;
    /** One in this many windows of the text is held out. */
    private static final int HELD_OUT_SHARE = 10;

    /**
     * Cuts a text: its last windows are held out; the text before them is used for training twice, the second time in
     * windows shifted by half.
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
        int shifted = first - 1;
        int length = windows.length();
        int[] ids = new int[(first + shifted + heldOut) * length];
        System.arraycopy(windows.ids(), 0, ids, 0, first * length);
        System.arraycopy(windows.ids(), length / 2, ids, first * length, shifted * length);
        System.arraycopy(windows.ids(), first * length, ids, (first + shifted) * length, heldOut * length);
        return new HealTokens(new TokenSequences(ids, first + shifted + heldOut, length), first + shifted);
    }

    int[] heldOut() {
        return IntStream.range(trained, text.count()).toArray();
    }
}
