package dev.optgptq.kernels.gpu.rtc;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.natives.ChildJava;
import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/**
 * Compiles in another JVM, so that a crash of the compiler does no harm. That JVM stays for the sources that follow, since a
 * start costs more than many a source, and ends when none came for a while.
 */
final class ChildCompiler {

    private static final long MINUTES = 10;
    private static final long IDLE_SECONDS = 10;
    private static final long HEAP_BYTES = 256L << 20;
    private static final List<String> LIBRARIES = List.of("opt-gptq.hip.lib", "opt-gptq.hiprtc.lib",
            "opt-gptq.nvrtc.lib");

    private final Rtc rtc;
    private @Nullable Process process;
    private int requests;

    ChildCompiler(Rtc rtc) {
        this.rtc = rtc;
    }

    /** UserError DEVICE with the compiler's log, or with how the process ended. */
    synchronized byte[] compile(KernelSource source, List<String> options) {
        try {
            Path code = Files.createTempFile("opt-gptq-compile", "");
            try {
                Answer answer = ask(new CompileMain.Request(source, options, code));
                if (answer.status() != CompileMain.COMPILED) {
                    throw failure(source, options, answer);
                }
                return Files.readAllBytes(code);
            } finally {
                Files.deleteIfExists(code);
                int asked = ++requests;
                CompletableFuture.delayedExecutor(IDLE_SECONDS, TimeUnit.SECONDS).execute(() -> endIfIdle(asked));
            }
        } catch (IOException e) {
            throw new UserError(UserError.Code.DEVICE,
                    "kernel source " + source.name() + ": the compiler cannot be run: " + e.getMessage(), e);
        }
    }

    private synchronized void endIfIdle(int asked) {
        if (asked == requests) {
            end();
        }
    }

    private void end() {
        if (process != null) {
            process.destroyForcibly();
            process = null;
        }
    }

    private Answer ask(CompileMain.Request request) throws IOException {
        if (process == null || !process.isAlive()) {
            process = ChildJava.of(CompileMain.class, HEAP_BYTES, LIBRARIES, List.of(rtc.api()))
                    .redirectErrorStream(true)
                    .start();
        }
        Process asked = process;
        String name = "kernel source " + request.source().name();
        try {
            return CompletableFuture.supplyAsync(() -> answer(asked, request)).get(MINUTES, TimeUnit.MINUTES);
        } catch (TimeoutException e) {
            end();
            throw new UserError(UserError.Code.DEVICE,
                    name + ": the compiler did not end within " + MINUTES + " minutes", e);
        } catch (InterruptedException e) {
            end();
            Thread.currentThread().interrupt();
            throw new UserError(UserError.Code.DEVICE, "interrupted while kernels were compiled", e);
        } catch (ExecutionException e) {
            end();
            throw new IOException(e.getCause() == null ? e : e.getCause());
        }
    }

    private static Answer answer(Process process, CompileMain.Request request) {
        StringBuilder log = new StringBuilder();
        try {
            try {
                request.write(new DataOutputStream(new BufferedOutputStream(process.getOutputStream())));
            } catch (IOException ended) {
                // Before it had read the source; its exit code tells more.
            }
            BufferedReader lines = process.inputReader(StandardCharsets.UTF_8);
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.startsWith(CompileMain.ANSWER)) {
                    return new Answer(Integer.parseInt(line.substring(CompileMain.ANSWER.length())), 0,
                            log.toString().strip());
                }
                log.append(line).append('\n');
            }
            return new Answer(Answer.ENDED, process.waitFor(), log.toString().strip());
        } catch (IOException | InterruptedException e) {
            throw new CompletionException(e);
        }
    }

    /**
     * How a compilation went.
     *
     * @param status as CompileMain reports it, or ENDED
     * @param exit of a process that ended instead of answering
     */
    private record Answer(int status, int exit, String log) {
        static final int ENDED = -1;
    }

    private UserError failure(KernelSource source, List<String> options, Answer answer) {
        String log = answer.log();
        String what = "kernel source " + source.name() + " (" + rtc.prefix() + " " + String.join(" ", options) + "): ";
        if (answer.status() == CompileMain.NO_COMPILER) {
            return new UserError(UserError.Code.DEVICE, what + log);
        }
        if (answer.status() == CompileMain.REJECTED) {
            return new UserError(UserError.Code.DEVICE, what + "does not compile:\n" + log);
        }
        return new UserError(UserError.Code.DEVICE, what + "the compiler crashed ("
                + ChildJava.describeExit(answer.exit())
                + "); most likely it does not support this architecture"
                + (log.isEmpty() ? "" : ". Its last output:\n" + log));
    }
}
