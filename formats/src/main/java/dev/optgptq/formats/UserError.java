package dev.optgptq.formats;

import org.jspecify.annotations.Nullable;

/**
 * A failure that the user can understand and fix: bad input, an impossible setting, a full disk. The message names the
 * file or tensor, what was expected, what was found and what to do. The command line prints it without a stack trace.
 */
public final class UserError extends RuntimeException {

    private static final long serialVersionUID = 1L;

    /** The kind of failure, for machines; part of the JSON output. */
    public enum Code {
        /** A file of the model directory is missing, damaged or contradicts another one. */
        BAD_MODEL,
        /** The model is valid but of an unsupported kind. */
        UNSUPPORTED_MODEL,
        /** The tokenizer is missing or cannot be read. */
        BAD_TOKENIZER,
        /** A text or token file cannot be used. */
        BAD_TEXT,
        /** A setting is out of range or contradicts another one; the exit code is that of a usage error. */
        BAD_SETTING,
        /** The run would not fit, or did not fit, in memory. */
        MEMORY,
        /** The requested device is missing or failed. */
        DEVICE,
        /** The device failed in the middle of the work, and this process cannot use it any more; another may. */
        DEVICE_LOST,
        /** The output could not be written. */
        OUTPUT,
        /** NaN or infinity where there must be none. */
        NUMERIC
    }

    private final Code code;

    public UserError(Code code, String message) {
        this(code, message, null);
    }

    public UserError(Code code, String message, @Nullable Throwable cause) {
        super(message, cause);
        this.code = code;
    }

    public Code code() {
        return code;
    }
}
