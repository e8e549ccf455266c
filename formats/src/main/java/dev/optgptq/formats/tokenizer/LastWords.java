package dev.optgptq.formats.tokenizer;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.TimeUnit;

/** The last lines that a process wrote on standard error, where a panic of native code is reported. */
final class LastWords {

    private static final int LINES = 4;
    private static final int MOST_CHARS = 300;

    private final Deque<String> lines = new ArrayDeque<>();
    private final Thread reader;

    LastWords(InputStream standardError) {
        this.reader = Thread.ofPlatform().daemon().name("hears the tokenizer").start(() -> read(standardError));
    }

    @SuppressWarnings("EmptyCatch") // see the comment in it
    private void read(InputStream standardError) {
        try (BufferedReader in = new BufferedReader(new InputStreamReader(standardError, StandardCharsets.UTF_8))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                add(line.strip());
            }
        } catch (IOException closed) {
            // The process is gone; keep what was read.
        }
    }

    private synchronized void add(String line) {
        if (line.isEmpty() || line.startsWith("note: run with") || line.startsWith("WARNING:")) {
            return;
        }
        if (lines.size() == LINES) {
            lines.removeFirst();
        }
        lines.addLast(line.length() > MOST_CHARS ? line.substring(0, MOST_CHARS) + "..." : line);
    }

    /** ", saying ..." once the process has ended; empty when it said nothing. */
    String text() throws InterruptedException {
        reader.join(TimeUnit.SECONDS.toMillis(1));
        synchronized (this) {
            return lines.isEmpty() ? "" : ", saying '" + String.join("; ", lines) + "'";
        }
    }
}
