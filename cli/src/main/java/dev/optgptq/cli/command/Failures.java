package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.Shutdown;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.formats.UserError;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine;

/** Turns whatever went wrong into a message and an exit code. */
public record Failures(Console console) {

    private static final String DEBUG_VARIABLE = "OPT_GPTQ_DEBUG";

    /** An error as --json prints it. */
    record JsonFailure(Failure error) {}

    /** @param code of {@link UserError.Code} */
    record Failure(String code, String message) {}

    /** The command line itself was wrong. */
    int usage(ParameterException problem, String[] args) {
        CommandLine command = problem.getCommandLine();
        console.error(String.valueOf(problem.getMessage()));
        if (problem.getCause() instanceof UserError) {
            return ExitCode.USAGE;
        }
        if (!CommandLine.UnmatchedArgumentException.printSuggestions(problem, console.err())) {
            console.err().println("Run '" + command.getCommandSpec().qualifiedName() + " --help' for what it takes.");
        }
        return ExitCode.USAGE;
    }

    /** The command failed while it ran. */
    int execution(Exception problem, CommandLine command, ParseResult parsed) {
        if (Shutdown.hasBegun()) {
            return ExitCode.FAILED; // the work directory was removed under the command's feet; the hook has said why
        }
        if (!(problem instanceof UserError error)) {
            return bug(problem);
        }
        console.error(String.valueOf(error.getMessage()));
        if (isVerbose(parsed)) {
            error.printStackTrace(console.err());
        }
        if (wantsJson(parsed)) {
            console.print(ReportJson.text(
                    new JsonFailure(new Failure(error.code().name(), String.valueOf(error.getMessage())))));
        }
        return error.code() == UserError.Code.BAD_SETTING ? ExitCode.USAGE : ExitCode.FAILED;
    }

    /** Not the user's doing. */
    public int bug(Throwable problem) {
        console.error("unexpected failure. This is a bug; please report it with the lines below and the command.");
        problem.printStackTrace(console.err());
        console.err().flush();
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
