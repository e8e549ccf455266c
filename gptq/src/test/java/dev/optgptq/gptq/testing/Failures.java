package dev.optgptq.gptq.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import org.junit.jupiter.api.function.Executable;

/** Asserts on what a user is told. */
public final class Failures {

    private Failures() {}

    /** The action fails with that code and a message that holds every part. */
    public static void assertRefused(UserError.Code code, Executable action, String... parts) {
        UserError error = assertThrows(UserError.class, action);
        String message = String.valueOf(error.getMessage());
        assertEquals(code, error.code(), message);
        for (String part : parts) {
            assertTrue(message.contains(part), () -> "expected \"" + part + "\" in: " + message);
        }
    }
}
