package dev.optgptq.cli.command;

/** What the process returns. */
public final class ExitCode {

    public static final int DONE = 0;
    public static final int FAILED = 1;
    public static final int USAGE = 2;
    /** The command did its work and the result is worse than a threshold allows. */
    public static final int THRESHOLD_MISSED = 3;

    private ExitCode() {}
}
