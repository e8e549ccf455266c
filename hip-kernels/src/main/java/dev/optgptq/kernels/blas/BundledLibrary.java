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
import java.util.stream.Stream;

/**
 * A library inside a jar of org.bytedeco, unpacked into a per-user cache folder, since a native library must be a file.
 * The jar's JNI wrappers are not used.
 *
 * @param artifact the jar's name, such as openblas
 * @param files in the jars: what the library needs first, itself last; without itself where the jar is for another machine
 */
record BundledLibrary(String artifact, String version, String platform, List<Resource> files) {

    /** oneDNN, which is named by its number as the loader knows it, and what it needs beside it. */
    static final List<String> ONEDNN = List.of("libOpenCL.so.1", "libgomp.so.1", "libdnnl.so.3");

    /**
     * A file in a jar.
     *
     * @param path from the root of the jar
     */
    record Resource(String name, String path) {

        private boolean isPresent() {
            return BundledLibrary.class.getResource(path) != null;
        }
    }

    /** The OpenBLAS for this machine. */
    static BundledLibrary openBlas() {
        String platform = thisPlatform();
        return of("openblas", platform, namesOfOpenBlas().stream().map(name -> resource("openblas", platform, name)));
    }

    /** The oneDNN for this machine: of Linux on x86-64 alone. */
    static BundledLibrary oneDnn() {
        String platform = thisPlatform();
        return of("dnnl", platform, ONEDNN.stream()
                .map(name -> resource(name.contains("OpenCL") ? "opencl" : "dnnl", platform, name)));
    }

    private static BundledLibrary of(String artifact, String platform, Stream<Resource> files) {
        return new BundledLibrary(artifact, readVersion(artifact), platform,
                files.filter(Resource::isPresent).toList());
    }

    private static Resource resource(String artifact, String platform, String name) {
        return new Resource(name, "/org/bytedeco/" + artifact + "/" + platform + "/" + name);
    }

    /** What OpenBLAS needs first, itself last, wherever they come from. */
    static List<String> namesOfOpenBlas() {
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

    private static String readVersion(String artifact) {
        Properties properties = new Properties();
        String notes = "/META-INF/maven/org.bytedeco/" + artifact + "/pom.properties";
        try (InputStream in = BundledLibrary.class.getResourceAsStream(notes)) {
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
        return files.stream().anyMatch(file -> file.name().contains(artifact));
    }

    /**
     * Unpacks what is not there yet, or is not what the jar holds.
     *
     * @param cache the folder for all versions
     * @return the files, in the order of {@link #files()}
     */
    List<Path> unpack(Path cache) throws IOException {
        PrivateFolder folder = PrivateFolder.at(cache.resolve(artifact + "-" + version + "-" + platform));
        List<Path> unpacked = new ArrayList<>();
        for (Resource file : files) {
            URL resource = BundledLibrary.class.getResource(file.path());
            if (resource == null) {
                throw new IOException(file.path() + " has gone from the classpath");
            }
            unpacked.add(UnpackedLibrary.of(resource, folder, file.name()));
        }
        return unpacked;
    }
}
