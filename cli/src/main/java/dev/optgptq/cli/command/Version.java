package dev.optgptq.cli.command;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Properties;
import picocli.CommandLine.IVersionProvider;

/** The version, which the build wrote into the jar. */
public final class Version implements IVersionProvider {

    static final String TOOL = "opt-gptq";
    private static final String RESOURCE = "/dev/optgptq/cli/version.properties";

    /** Such as "0.1.0". */
    static String number() {
        try (InputStream stream = Version.class.getResourceAsStream(RESOURCE)) {
            Properties properties = new Properties();
            properties.load(stream);
            return properties.getProperty("version", "unknown");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** What --version prints. */
    public static String text() {
        return String.join(System.lineSeparator(), lines()) + System.lineSeparator();
    }

    @Override
    public String[] getVersion() {
        return lines();
    }

    private static String[] lines() {
        return new String[] {TOOL + " " + number(), "Java " + Runtime.version() + ", "
                + System.getProperty("os.name") + " " + System.getProperty("os.arch")};
    }
}
