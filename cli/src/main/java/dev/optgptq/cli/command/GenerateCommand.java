package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.generate.AnswerOutput;
import dev.optgptq.cli.generate.Chat;
import dev.optgptq.cli.generate.Conversation;
import dev.optgptq.cli.generate.GenerateJob;
import dev.optgptq.cli.generate.Prompt;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** generate: continue prompts with a model. */
@Command(name = "generate", header = "Continue prompts with a model, plain or quantized.", mixinStandardHelpOptions = true, sortOptions = false, description = {
        "",
        "Continues the text of a prompt, or answers it through the model's chat template with --chat. Keeps keys and values of past tokens in pages. Prompts are batched, and prompts with a common prefix share "
                + "its pages. Decoding is greedy by default; with --temperature tokens are sampled, the same ones "
                + "for the same --seed.",
        ""}, footer = {"", "Examples:", "  opt-gptq generate out/w4 --prompt \"The city of York\" --tokens 200",
                "  opt-gptq generate out/w4 --prompts prompts.jsonl --output answers.jsonl",
                "  opt-gptq generate out/w4 --prompt \"The city\" --temperature 0.8 --seed 7",
                "  opt-gptq generate out/w4 --prompts prompts.jsonl --cache int8 --batch 32",
                "  opt-gptq generate out/w4 --chat",
                "  opt-gptq generate out/w4 --chat --system \"Be brief.\" --prompt \"Where is York?\"",
                "",
                "A line of prompts.jsonl is {\"prompt\": \"...\"}, or {\"messages\": [...]} with --chat, with \"id\" and \"max_tokens\" if "
                        + "wanted; a line of answers.jsonl has id, prompt or messages, text, tokens and finish_reason, in the "
                        + "order in which answers finish. Finished answers are kept when the command is interrupted."})
final class GenerateCommand implements Callable<Integer> {

    private final Console console;

    @Parameters(paramLabel = "MODEL_DIR", description = "The model to run, plain or quantized.")
    private Path model = Path.of("");

    @ArgGroup(multiplicity = "0..1")
    private Source source = new Source();

    @ArgGroup(validate = false, order = 1, heading = "%nChat:%n")
    private ChatOptions talk = new ChatOptions();

    @ArgGroup(validate = false, order = 2, heading = "%nAnswers:%n")
    private GenerateOptions options = new GenerateOptions();

    @ArgGroup(validate = false, order = 3, heading = "%nOutput:%n")
    private Files files = new Files();

    @ArgGroup(validate = false, order = 4, heading = "%nMachine:%n")
    private MachineOptions machine = new MachineOptions();

    /** Where prompts come from. */
    static final class Source {
        @Option(names = "--prompt", paramLabel = "TEXT", description = "The text to continue.")
        @Nullable
        String prompt;

        @Option(names = "--prompts", paramLabel = "FILE", description = "A .jsonl of prompts.")
        @Nullable
        Path prompts;
    }

    /** Where answers go. */
    static final class Files {
        @Option(names = "--output", paramLabel = "FILE", description = "A .jsonl to write. Default: standard output")
        @Nullable
        Path output;

        @Option(names = "--overwrite", description = "Replace an existing file.")
        boolean overwrite;

        @Option(names = "--json", description = "Print answers as JSON lines, with --prompt too.")
        boolean json;

        /** UserError BAD_SETTING if any was given. */
        private void requireNone() {
            Checks.require(output == null && !overwrite && !json, "--chat", "--output, --overwrite or --json",
                    "--prompt or --prompts with these");
        }
    }

    GenerateCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        Path file = source.prompts;
        String text = source.prompt;
        Chat chat = talk.chat(file != null || text != null);
        if (chat != null && file == null && text == null) {
            files.requireNone();
            options.requireForConversation();
            try (JobProgress progress = console.progress(); Device device = machine.open(progress::log)) {
                new Conversation(device, options.settings(device, true), chat, talk.context(), progress::log).run(model,
                        console);
            }
            return ExitCode.DONE;
        }
        List<Prompt> prompts = file == null
                ? List.of(Prompt.of(text == null ? "" : text, chat))
                : Prompt.read(file, chat);
        boolean streams = file == null && !files.json && files.output == null;
        if (streams) {
            options.requireForText();
        }
        try (JobProgress progress = console.progress();
                AnswerOutput output = AnswerOutput.of(console, progress, files.output, files.overwrite, streams);
                Device device = machine.open(progress::log)) {
            new GenerateJob(device, options.settings(device, chat != null), progress::log).run(model, prompts,
                    output::listener);
        }
        return ExitCode.DONE;
    }
}
