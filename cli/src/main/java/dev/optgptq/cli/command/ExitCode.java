package dev.optgptq.cli.command;

/** Exit codes of the process. */
public final class ExitCode {

    public static final int DONE = 0;
    public static final int FAILED = 1;
    public static final int USAGE = 2;
    /** The command succeeded, but a threshold was missed. */
    public static final int THRESHOLD_MISSED = 3;

    private ExitCode() {}
}
