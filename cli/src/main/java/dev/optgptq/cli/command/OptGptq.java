package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.formats.UserError;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The root of the command line. */
@Command(name = "opt-gptq", mixinStandardHelpOptions = true, versionProvider = Version.class, subcommands = {
        QuantizeCommand.class, EvalCommand.class, InspectCommand.class, DevicesCommand.class, BenchCommand.class,
        CompletionCommand.class}, sortOptions = false, usageHelpAutoWidth = true, description = "Quantizes language "
                + "models: a Hugging Face model directory in, a smaller one out that vLLM, transformers and GPTQModel load.", footer = {
                        "", "Start with:", "  opt-gptq quantize MODEL_DIR          4-bit GPTQ, output beside the model",
                        "  opt-gptq eval perplexity MODEL_DIR --text FILE",
                        "", "Exit codes: 0 done, 1 failed, 2 usage, 3 a threshold was missed."})
public final class OptGptq implements Runnable {

    /** Done. */
    public static final int DONE = 0;
    /** The command failed. */
    public static final int FAILED = 1;
    /** The command line is wrong. */
    public static final int USAGE = 2;
    /** It worked, and what was measured misses a threshold that was asked for. */
    public static final int THRESHOLD_MISSED = 3;

    private final Console console;

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it before run()
    private CommandSpec spec;

    OptGptq(Console console) {
        this.console = console;
    }

    Console console() {
        return console;
    }

    @Override
    public void run() {
        spec.commandLine().usage(console.out());
    }

    /** Runs one command line and returns its exit code. */
    public static int run(Console console, String... args) {
        CommandLine line = new CommandLine(new OptGptq(console)).setOut(console.out()).setErr(console.err())
                .setCaseInsensitiveEnumValuesAllowed(true);
        line.setParameterExceptionHandler((e, _) -> usageError(console, e));
        line.setExecutionExceptionHandler((e, _, _) -> failure(console, e));
        try {
            return line.execute(args);
        } catch (OutOfMemoryError e) {
            console.error("out of memory (" + e.getMessage() + "): fewer --samples or a shorter --sequence-length need less");
            return FAILED;
        }
    }

    private static int usageError(Console console, ParameterException e) {
        console.error(String.valueOf(e.getMessage()));
        console.err().println("Try: " + e.getCommandLine().getCommandSpec().qualifiedName() + " --help");
        return USAGE;
    }

    private static int failure(Console console, Exception e) {
        if (e instanceof UserError error) {
            console.error(String.valueOf(error.getMessage()));
            return error.code() == UserError.Code.BAD_SETTING ? USAGE : FAILED;
        }
        console.error("this is a bug, please report it with what follows");
        e.printStackTrace(console.err());
        return FAILED;
    }
}
