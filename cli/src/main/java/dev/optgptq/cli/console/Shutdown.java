package dev.optgptq.cli.console;

/** Whether the JVM is going down, so that threads which trip over what its hooks remove stay quiet. */
public final class Shutdown {

    private Shutdown() {}

    /** The JVM tells only by refusing new hooks. */
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
