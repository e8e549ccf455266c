package dev.optgptq.kernels.blas;

import java.io.IOException;
import dev.optgptq.formats.natives.PrivateFolder;
import dev.optgptq.formats.natives.UnpackedLibrary;
import java.io.InputStream;
import java.net.URL;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;

/**
 * The OpenBLAS inside the org.bytedeco:openblas jar, unpacked into a per-user cache folder, since a native library must
 * be a file. The jar's JNI wrappers are not used.
 *
 * @param resources the folder in the jar
 * @param files what OpenBLAS needs first, itself last
 */
record BundledLibrary(String version, String platform, String resources, List<String> files) {

    private static final String ROOT = "/org/bytedeco/openblas/";
    private static final String VERSION = "/META-INF/maven/org.bytedeco/openblas/pom.properties";

    /** The one for this machine, with an empty list of files when the jar is for another. */
    static BundledLibrary forThisMachine() {
        String platform = thisPlatform();
        String resources = ROOT + platform + "/";
        List<String> present = new ArrayList<>();
        for (String name : names(platform)) {
            if (BundledLibrary.class.getResource(resources + name) != null) {
                present.add(name);
            }
        }
        return new BundledLibrary(readVersion(), platform, resources, present);
    }

    /** What OpenBLAS needs first, itself last, wherever they come from. */
    static List<String> namesForThisMachine() {
        return names(thisPlatform());
    }

    private static String thisPlatform() {
        return platform(System.getProperty("os.name"), System.getProperty("os.arch"));
    }

    /** In bytedeco's spelling, such as linux-x86_64. */
    static String platform(String osName, String osArch) {
        String os = osName.toLowerCase(Locale.ROOT);
        String system = os.startsWith("mac") ? "macosx" : os.startsWith("windows") ? "windows" : os;
        return system + "-" + switch (osArch) {
            case "amd64" -> "x86_64";
            case "aarch64" -> "arm64";
            default -> osArch;
        };
    }

    private static List<String> names(String platform) {
        if (platform.startsWith("macosx")) {
            return List.of("libgcc_s.1.1.dylib", "libquadmath.0.dylib", "libgfortran.5.dylib", "libopenblas.0.dylib");
        }
        if (platform.startsWith("windows")) {
            return List.of("libwinpthread-1.dll", "libgcc_s_seh-1.dll", "libquadmath-0.dll", "libgfortran-5.dll",
                    "libopenblas.dll");
        }
        return List.of("libgcc_s.so.1", "libquadmath.so.0", "libgfortran.so.5", "libopenblas.so.0");
    }

    private static String readVersion() {
        Properties properties = new Properties();
        try (InputStream in = BundledLibrary.class.getResourceAsStream(VERSION)) {
            if (in != null) {
                properties.load(in);
            }
        } catch (IOException e) {
            // The version only names the cache folder; unpack() compares the content anyway.
            return "unknown";
        }
        return properties.getProperty("version", "unknown");
    }

    boolean isPresent() {
        return files.stream().anyMatch(name -> name.contains("openblas"));
    }

    /**
     * Unpacks what is not there yet, or is not what the jar holds.
     *
     * @param cache the folder for all versions
     * @return the files, in the order of {@link #files()}
     */
    List<Path> unpack(Path cache) throws IOException {
        PrivateFolder folder = PrivateFolder.at(cache.resolve("openblas-" + version + "-" + platform));
        List<Path> unpacked = new ArrayList<>();
        for (String name : files) {
            URL resource = BundledLibrary.class.getResource(resources + name);
            if (resource == null) {
                throw new IOException(resources + name + " has gone from the classpath");
            }
            unpacked.add(UnpackedLibrary.of(resource, folder, name));
        }
        return unpacked;
    }
}
