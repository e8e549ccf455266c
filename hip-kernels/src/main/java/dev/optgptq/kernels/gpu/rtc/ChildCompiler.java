package dev.optgptq.kernels.gpu.rtc;

import dev.optgptq.formats.UserError;
import java.io.IOException;
import dev.optgptq.formats.natives.ChildJava;
import java.io.DataOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Compiles in another JVM, so that a crash of the compiler does no harm. */
final class ChildCompiler {

    private static final long MINUTES = 10;
    private static final long HEAP_BYTES = 256L << 20;
    private static final List<String> LIBRARIES = List.of("opt-gptq.hip.lib", "opt-gptq.hiprtc.lib",
            "opt-gptq.nvrtc.lib");

    private final Rtc rtc;

    ChildCompiler(Rtc rtc) {
        this.rtc = rtc;
    }

    /** UserError DEVICE with the compiler's log, or with how the process ended. */
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
        List<String> arguments = new ArrayList<>(List.of(rtc.api(), source.name(), code.toString()));
        arguments.addAll(options);
        byte[] text = source.text().getBytes(StandardCharsets.UTF_8);
        Process process = ChildJava.of(CompileMain.class, HEAP_BYTES, LIBRARIES, arguments).redirectErrorStream(true)
                .redirectOutput(log.toFile()).start();
        // Open until the process has ended: it ends when its input is closed, even by a crash here.
        try (DataOutputStream in = new DataOutputStream(process.getOutputStream())) {
            send(text, in, process);
            return result(await(process, source), source, options, code, log);
        } finally {
            process.destroyForcibly();
        }
    }

    private static void send(byte[] text, DataOutputStream in, Process process) {
        try {
            in.writeInt(text.length);
            in.write(text);
            in.flush();
        } catch (IOException e) {
            // The process ended before it read the source; its exit code tells more.
            process.onExit().join();
        }
    }

    private byte[] result(int exit, KernelSource source, List<String> options, Path code, Path log)
            throws IOException {
        if (exit != CompileMain.COMPILED) {
            throw failure(source, options, exit, Files.readString(log).strip());
        }
        return Files.readAllBytes(code);
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
                + ChildJava.describeExit(exit)
                + "); most likely it does not support this architecture"
                + (log.isEmpty() ? "" : ". Its last output:\n" + log));
    }
}
