package dev.optgptq.gptq.run.resume;

import dev.optgptq.calibrate.weights.WeightLoader;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import java.io.IOException;
import java.net.JarURLConnection;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * Tells one build of this program from another: builds of one version number can compute different bits. A hash of the
 * names and checksums of all files of the modules that decide a result, their classes, kernels and family descriptions,
 * whenever and wherever they were compiled.
 */
final class BuildIdentity {

    /** Of the classes that run here; 16 hexadecimal digits. */
    static final String OF_THIS_PROGRAM = of(
            Stream.of(ModelDirectory.class, Device.class, WeightLoader.class, BuildIdentity.class)
                    .map(BuildIdentity::place).toList());

    private BuildIdentity() {}

    /** @param places a jar or a folder of classes each */
    static String of(List<Path> places) {
        Map<String, Long> files = new TreeMap<>();
        try {
            for (Path place : places) {
                if (Files.isDirectory(place)) {
                    addFolder(place, files);
                } else {
                    addJar(place, files);
                }
            }
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            files.forEach((name, checksum) -> digest
                    .update((name + " " + checksum + "\n").getBytes(StandardCharsets.UTF_8)));
            return HexFormat.of().formatHex(digest.digest(), 0, 8);
        } catch (IOException e) {
            throw new UserError(UserError.Code.OUTPUT,
                    places + ": expected the program's classes, found files that cannot"
                            + " be read (" + e + "); install it again",
                    e);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    /** By the class's own file: a class of the startup cache may know no code source. */
    private static Path place(Class<?> inModule) {
        String file = "/" + inModule.getName().replace('.', '/') + ".class";
        URL url = Objects.requireNonNull(inModule.getResource(file), file);
        try {
            if (url.openConnection() instanceof JarURLConnection jar) {
                return Path.of(jar.getJarFileURL().toURI());
            }
            return Path.of(new URI(url.toString().substring(0, url.toString().length() - file.length())));
        } catch (IOException | URISyntaxException e) {
            throw new IllegalStateException(url.toString(), e);
        }
    }

    /** The jar's directory has the checksums. What Maven puts in holds the time of the build. */
    private static void addJar(Path jar, Map<String, Long> files) throws IOException {
        try (ZipFile zip = new ZipFile(jar.toFile())) {
            zip.stream().filter(entry -> !entry.isDirectory() && !entry.getName().startsWith("META-INF/"))
                    .forEach((ZipEntry entry) -> files.put(entry.getName(), entry.getCrc()));
        }
    }

    private static void addFolder(Path folder, Map<String, Long> files) throws IOException {
        try (Stream<Path> found = Files.walk(folder)) {
            for (Path file : found.filter(Files::isRegularFile).toList()) {
                String name = folder.relativize(file).toString().replace('\\', '/');
                if (!name.startsWith("META-INF/")) {
                    CRC32 checksum = new CRC32();
                    checksum.update(Files.readAllBytes(file));
                    files.put(name, checksum.getValue());
                }
            }
        }
    }
}
