package dev.optgptq.cli.console;

/** Whether the JVM is shutting down, so that threads whose files its hooks remove report no error. */
public final class Shutdown {

    private Shutdown() {}

    /** The JVM shows it only by refusing new hooks. */
    public static boolean hasBegun() {
        Thread probe = Thread.ofPlatform().unstarted(() -> {});
        try {
            Runtime.getRuntime().addShutdownHook(probe);
            Runtime.getRuntime().removeShutdownHook(probe);
            return false;
        } catch (IllegalStateException ignored) {
            return true;
        }
    }
}
