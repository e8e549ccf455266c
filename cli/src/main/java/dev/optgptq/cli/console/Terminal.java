package dev.optgptq.cli.console;

/**
 * What the process's standard streams are connected to.
 *
 * @param columns width of the terminal on standard error, 0 when it is not a terminal
 * @param colorOut whether standard output supports colours
 * @param colorErr whether standard error supports colours
 * @param unicode whether both can show box-drawing characters
 */
public record Terminal(int columns, boolean colorOut, boolean colorErr, boolean unicode) {

    /** A file or a pipe. */
    public static final Terminal NONE = new Terminal(0, false, false, false);

    private static final String COLUMNS_PROPERTY = "opt-gptq.terminal";
    private static final String OUT_PROPERTY = "opt-gptq.terminal.out";

    /**
     * From what the launcher found: the JVM knows only whether input and output both are terminals. NO_COLOR
     * (https://no-color.org) turns colours off.
     */
    public static Terminal detect() {
        int columns = Integer.getInteger(COLUMNS_PROPERTY, 0);
        boolean color = System.getenv("NO_COLOR") == null || System.getenv("NO_COLOR").isEmpty();
        boolean unicode = System.err.charset().name().startsWith("UTF");
        return new Terminal(columns, color && Boolean.getBoolean(OUT_PROPERTY), color && columns > 0, unicode);
    }

    /** Whether a line can be redrawn in place. */
    public boolean isLive() {
        return columns > 0;
    }
}
