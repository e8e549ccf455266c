package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.Shutdown;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.formats.UserError;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine;

/** Turns every failure into a message and an exit code. */
public record Failures(Console console) {

    private static final String DEBUG_VARIABLE = "OPT_GPTQ_DEBUG";

    /** An error as --json prints it. */
    record JsonFailure(Failure error) {}

    /** @param code of {@link UserError.Code} */
    record Failure(String code, String message) {}

    /** The command line itself was wrong. */
    int usage(ParameterException problem, String[] args) {
        CommandLine command = problem.getCommandLine();
        console.error(message(problem));
        if (problem.getCause() instanceof UserError) {
            return ExitCode.USAGE;
        }
        StringWriter suggestions = new StringWriter();
        boolean found = CommandLine.UnmatchedArgumentException.printSuggestions(problem,
                new PrintWriter(suggestions, true));
        console.say(found
                ? suggestions.toString().stripTrailing()
                : "Run '" + command.getCommandSpec().qualifiedName() + " --help' for its options.");
        return ExitCode.USAGE;
    }

    /** picocli's message, except for enums, whose constants picocli prints as Java names. */
    private static String message(ParameterException problem) {
        ArgSpec option = problem.getArgSpec();
        if (!(option instanceof OptionSpec named) || !option.type().isEnum() || problem.getValue() == null) {
            return String.valueOf(problem.getMessage());
        }
        List<String> choices = new ArrayList<>();
        option.completionCandidates().forEach(choices::add);
        return named.longestName() + ": expected one of " + String.join(", ", choices) + ", found "
                + problem.getValue();
    }

    /**
     * Standard output could not be written.
     *
     * @param exitCode of the command itself
     */
    public int lostResults(int exitCode) {
        console.error(
                "standard output could not be written: the disk is full or the reader has closed it; results are "
                        + "missing there");
        return exitCode == ExitCode.DONE ? ExitCode.FAILED : exitCode;
    }

    /** The command failed while it ran. */
    int execution(Exception problem, CommandLine command, ParseResult parsed) {
        if (Shutdown.hasBegun()) {
            return ExitCode.FAILED; // the shutdown hook removed the work directory and said why
        }
        if (!(problem instanceof UserError error)) {
            return bug(problem);
        }
        console.error(String.valueOf(error.getMessage()));
        if (isVerbose(parsed)) {
            console.trace(error);
        }
        if (wantsJson(parsed)) {
            console.print(ReportJson.text(
                    new JsonFailure(new Failure(error.code().name(), String.valueOf(error.getMessage())))));
        }
        return error.code() == UserError.Code.BAD_SETTING ? ExitCode.USAGE : ExitCode.FAILED;
    }

    /** Not the user's fault. */
    public int bug(Throwable problem) {
        console.error("unexpected failure. This is a bug; please report it with the lines below and the command.");
        console.trace(problem);
        return ExitCode.FAILED;
    }

    /** The Java heap, which holds no weights, was too small. */
    public int outOfMemory(OutOfMemoryError problem) {
        console.error(
                "out of memory: " + problem.getMessage() + ". Weights and activations live outside the Java heap, so "
                        + "either the machine is full, or a text is too large for the heap: try a smaller one, or "
                        + "OPT_GPTQ_JAVA_OPTS=-Xmx4g");
        return ExitCode.FAILED;
    }

    private static boolean isVerbose(ParseResult parsed) {
        return System.getenv(DEBUG_VARIABLE) != null || innermost(parsed).hasMatchedOption(CommandTree.VERBOSE);
    }

    private static boolean wantsJson(ParseResult parsed) {
        OptionSpec json = innermost(parsed).matchedOption("--json");
        return json != null && Boolean.TRUE.equals(json.getValue());
    }

    private static ParseResult innermost(ParseResult parsed) {
        ParseResult result = parsed;
        while (result.hasSubcommand()) {
            result = result.subcommand();
        }
        return result;
    }
}
