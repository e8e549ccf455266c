package dev.optgptq.kernels.gpu.rtc;

import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Compiles in another JVM, so that a compiler that crashes takes nothing with it. */
final class ChildCompiler {

    private static final long MINUTES = 10;
    /** The shell's way to say "ended by a signal", which Java follows. */
    private static final int SIGNAL = 128;

    private final Rtc rtc;

    ChildCompiler(Rtc rtc) {
        this.rtc = rtc;
    }

    /** UserError DEVICE with the compiler's log, or with what became of the process. */
    byte[] compile(KernelSource source, List<String> options) {
        try {
            Path folder = Files.createTempDirectory("opt-gptq-compile");
            try {
                return compile(source, options, folder);
            } finally {
                Files.deleteIfExists(folder.resolve("code"));
                Files.deleteIfExists(folder.resolve("log"));
                Files.deleteIfExists(folder);
            }
        } catch (IOException e) {
            throw new UserError(UserError.Code.DEVICE,
                    "kernel source " + source.name() + ": the compiler cannot be run: " + e.getMessage(), e);
        }
    }

    private byte[] compile(KernelSource source, List<String> options, Path folder) throws IOException {
        Path code = folder.resolve("code");
        Path log = folder.resolve("log");
        List<String> command = command();
        command.addAll(List.of(rtc.api(), source.name(), code.toString()));
        command.addAll(options);
        Process process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
        try (OutputStream in = process.getOutputStream()) {
            in.write(source.text().getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            // The process ended before it read the source; its exit code says more.
            process.onExit().join();
        }
        int exit = await(process, source);
        if (exit != CompileMain.COMPILED) {
            throw failure(source, options, exit, Files.readString(log).strip());
        }
        return Files.readAllBytes(code);
    }

    private List<String> command() {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx256m",
                "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xshare:auto",
                // A crash is an answer here, and needs neither a report in the current folder nor a core.
                "-XX:+SuppressFatalErrorMessage", "--enable-native-access=ALL-UNNAMED"));
        for (String setting : List.of("hip.lib", "hiprtc.lib", "nvrtc.lib")) {
            String property = "opt-gptq." + setting;
            String value = System.getProperty(property);
            if (value != null) {
                command.add("-D" + property + "=" + value);
            }
        }
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), CompileMain.class.getName()));
        return command;
    }

    private static int await(Process process, KernelSource source) {
        try {
            if (process.waitFor(MINUTES, TimeUnit.MINUTES)) {
                return process.exitValue();
            }
            process.destroyForcibly();
            throw new UserError(UserError.Code.DEVICE,
                    "kernel source " + source.name() + ": the compiler did not end within " + MINUTES + " minutes");
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
            throw new UserError(UserError.Code.DEVICE, "interrupted while kernels were compiled", e);
        }
    }

    private UserError failure(KernelSource source, List<String> options, int exit, String log) {
        String what = "kernel source " + source.name() + " (" + rtc.prefix() + " " + String.join(" ", options) + "): ";
        if (exit == CompileMain.NO_COMPILER) {
            return new UserError(UserError.Code.DEVICE, what + log);
        }
        if (exit == CompileMain.REJECTED) {
            return new UserError(UserError.Code.DEVICE, what + "does not compile:\n" + log);
        }
        return new UserError(UserError.Code.DEVICE, what + "the compiler crashed ("
                + (exit > SIGNAL ? "signal " + (exit - SIGNAL) : "exit code " + exit)
                + "); most likely it does not know this architecture"
                + (log.isEmpty() ? "" : ". Its last words:\n" + log));
    }
}
