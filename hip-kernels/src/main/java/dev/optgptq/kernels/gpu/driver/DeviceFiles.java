package dev.optgptq.kernels.gpu.driver;

import java.nio.file.Files;
import java.nio.file.Path;

/** Checks the kernel driver's files when a library finds no device: they are the usual cause. */
final class DeviceFiles {

    private DeviceFiles() {}

    /** Begins with "; ", or is "" when the files are as they should be. */
    static String hint(String api) {
        boolean hip = api.equals("hip");
        Path file = Path.of(hip ? "/dev/kfd" : "/dev/nvidiactl");
        if (!Files.exists(file)) {
            return "; there is no " + file + ": the kernel driver is not loaded, or the file is not passed into this"
                    + " container";
        }
        if (!Files.isReadable(file) || !Files.isWritable(file)) {
            return "; this user may not open " + file
                    + (hip ? ": it must be in the file's group, video or render" : "");
        }
        return "";
    }
}
