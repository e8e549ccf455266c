package dev.optgptq.kernels.blas;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.natives.CacheFolder;
import dev.optgptq.formats.natives.NativeFolder;
import dev.optgptq.kernels.ffm.EnvironmentSetting;
import dev.optgptq.kernels.ffm.NativeLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * Finds and loads oneDNN: the file that the user named; or the distribution's; or the one in the jar. The system's is not
 * looked for, since its kernels, and so the bits, differ from version to version.
 *
 * @param origin where it came from, for people
 */
record OneDnnLibrary(NativeLibrary symbols, String origin) {

    /** OPT_GPTQ_ONEDNN_LIB: the path of a library to use, or none. */
    static final EnvironmentSetting SETTING = new EnvironmentSetting("onednn.lib");

    /** Either multiplies bfloat16 and sums in float32, as Linux names them. */
    private static final Set<String> UNITS = Set.of("avx512_bf16", "amx_bf16");

    /** UserError DEVICE, with the reason, where there is none to gain from. The library is not touched on other CPUs. */
    static OneDnnLibrary load() {
        return load(Path.of("/proc/cpuinfo"));
    }

    static OneDnnLibrary load(Path cpuInfo) {
        requireUnits(cpuInfo);
        Optional<String> chosen = SETTING.value();
        if (chosen.isPresent()) {
            return new OneDnnLibrary(open(chosen.get()), chosen.get());
        }
        Optional<NativeFolder> distribution = NativeFolder.ofThisProgram();
        if (distribution.isPresent()) {
            List<Path> files = BundledLibrary.ONEDNN.stream().map(distribution.get()::file).toList();
            return new OneDnnLibrary(open(files.getLast().toString()), "of this distribution");
        }
        return loadBundled(BundledLibrary.oneDnn());
    }

    private static void requireUnits(Path cpuInfo) {
        try (var lines = Files.lines(cpuInfo)) {
            if (lines.filter(line -> line.startsWith("flags")).limit(1)
                    .flatMap(line -> Arrays.stream(line.split("\\s+"))).noneMatch(UNITS::contains)) {
                throw new UserError(UserError.Code.DEVICE, "this CPU has neither AVX-512 BF16 nor AMX");
            }
        } catch (IOException e) {
            throw new UserError(UserError.Code.DEVICE,
                    "oneDNN is used on Linux only; this is " + System.getProperty("os.name"), e);
        }
    }

    private static OneDnnLibrary loadBundled(BundledLibrary bundled) {
        if (!bundled.isPresent()) {
            throw new UserError(UserError.Code.DEVICE, "no oneDNN is bundled for " + bundled.platform());
        }
        try {
            Path file = bundled.unpack(CacheFolder.of(System::getenv)).getLast();
            return new OneDnnLibrary(open(file.toString()), "bundled " + bundled.version());
        } catch (IOException e) {
            throw new UserError(UserError.Code.DEVICE, "oneDNN cannot be unpacked (" + e + "); make the cache folder"
                    + " writable or name another with " + CacheFolder.VARIABLE, e);
        }
    }

    /** What it needs beside it lies in the same folder, where it looks first. */
    private static NativeLibrary open(String file) {
        return NativeLibrary.load(new NativeLibrary.Search("oneDNN", SETTING, List.of(file)));
    }
}
