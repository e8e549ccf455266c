package dev.optgptq.cli.generate;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.generate.Answer;
import dev.optgptq.calibrate.generate.GenerationListener;
import dev.optgptq.cli.console.Console;
import dev.optgptq.formats.json.Json;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Where answers go: text as it is generated, or one JSON line for each finished answer. */
public final class AnswerOutput implements AutoCloseable {

    private final Console console;
    private final Progress progress;
    private final @Nullable AnswerWriter writer;
    private final boolean streams;

    private AnswerOutput(Console console, Progress progress, @Nullable AnswerWriter writer, boolean streams) {
        this.console = console;
        this.progress = progress;
        this.writer = writer;
        this.streams = streams;
    }

    /**
     * @param file to write; null for standard output. UserError OUTPUT if it exists
     * @param streams whether the text of the only answer is printed as it is generated
     */
    public static AnswerOutput of(Console console, Progress progress, @Nullable Path file, boolean overwrite,
            boolean streams) {
        return new AnswerOutput(console, progress, file == null ? null : AnswerWriter.open(file, overwrite), streams);
    }

    /** The listener for the answers to these prompts. */
    public GenerationListener listener(List<GenerateJob.Asked> asked) {
        return new GenerationListener() {
            private int done;

            @Override
            public void text(int request, String added) {
                if (streams) {
                    console.print(added);
                }
            }

            @Override
            public void finished(int request, Answer answer) {
                if (streams) {
                    console.print("\n");
                } else {
                    write(asked.get(request), answer);
                    progress.at("answers", ++done, asked.size());
                }
            }

            @Override
            public boolean isInterrupted() {
                return false; // finished answers have been written
            }
        };
    }

    private void write(GenerateJob.Asked asked, Answer answer) {
        if (writer != null) {
            writer.write(asked.prompt(), asked.tokens(), answer);
        } else {
            console.print(new String(
                    Json.toCompactBytes(AnswerWriter.json(asked.prompt(), asked.tokens(), answer)),
                    StandardCharsets.UTF_8) + "\n");
        }
    }

    @Override
    public void close() {
        if (writer != null) {
            writer.close();
        }
    }
}
