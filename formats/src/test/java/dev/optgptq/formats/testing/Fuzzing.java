package dev.optgptq.formats.testing;

import dev.optgptq.formats.UserError;

/** The property that every parser of files holds for any bytes whatever. */
public final class Fuzzing {

    private Fuzzing() {}

    /** The action succeeds or fails with a UserError that says something; any other end is a bug. */
    public static void succeedsOrUserError(Runnable action) {
        try {
            action.run();
        } catch (UserError e) {
            if (String.valueOf(e.getMessage()).length() < 20) {
                throw new AssertionError("an error that explains nothing: " + e.getMessage(), e);
            }
        }
    }
}
