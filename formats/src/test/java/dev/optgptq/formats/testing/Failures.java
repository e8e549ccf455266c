package dev.optgptq.formats.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import org.junit.jupiter.api.function.Executable;

/** Assertions about errors: what a user reads is part of the specification. */
public final class Failures {

    private Failures() {}

    /** The action fails with a UserError of that code whose message contains every fragment. */
    public static void assertUserError(Code code, Executable action, String... fragments) {
        UserError error = assertThrows(UserError.class, action);
        assertEquals(code, error.code(), error.getMessage());
        assertMessage(error, fragments);
    }

    /** The action is refused as a mistake of the calling code, with a message that contains every fragment. */
    public static void assertRefused(Executable action, String... fragments) {
        assertMessage(assertThrows(IllegalArgumentException.class, action), fragments);
    }

    private static void assertMessage(Throwable error, String... fragments) {
        String message = String.valueOf(error.getMessage());
        for (String fragment : fragments) {
            assertTrue(message.contains(fragment), () -> "expected '" + fragment + "' in: " + message);
        }
    }
}
