package dev.optgptq.cli.console;

/**
 * Escapes control characters in text from outside; leaves a clean terminal when the process is interrupted (Ctrl-C).
 */
final class InterruptibleProgress implements JobProgress {

    private final JobProgress display;
    private final Thread hook;

    InterruptibleProgress(JobProgress display, Console console) {
        this.display = display;
        this.hook = Thread.ofPlatform().name("interrupted").unstarted(() -> {
            display.close();
            console.error("interrupted");
        });
        Runtime.getRuntime().addShutdownHook(hook);
    }

    @Override
    public void at(String phase, long done, long total) {
        display.at(Visible.text(phase), done, total);
    }

    @Override
    public void log(String line) {
        display.log(Visible.text(line));
    }

    @Override
    public void close() {
        display.close();
        if (!Shutdown.hasBegun()) {
            Runtime.getRuntime().removeShutdownHook(hook);
        }
    }
}
