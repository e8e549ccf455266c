package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.Terminal;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Help;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine;

/** All commands, put together. */
public final class CommandTree {

    static final String VERBOSE = "--verbose";
    private static final int USAGE_WIDTH = 100;

    private CommandTree() {}

    /** The command line of one process. */
    public static CommandLine of(Console console) {
        CommandLine eval = new CommandLine(new EvalCommand())
                .addSubcommand(new EvalPerplexityCommand(console))
                .addSubcommand(new EvalLogitsCommand(console));
        CommandLine root = new CommandLine(new RootCommand(console))
                .addSubcommand(new QuantizeCommand(console))
                .addSubcommand(eval)
                .addSubcommand(new InspectCommand(console))
                .addSubcommand(new DevicesCommand(console))
                .addSubcommand(new BenchCommand(console))
                .addSubcommand(new CompletionCommand(console));
        root.getCommandSpec().addOption(verbose());
        setVersion(root);
        Failures failures = new Failures(console);
        Terminal terminal = console.terminal();
        return root.setOut(console.out()).setErr(console.err())
                .setColorScheme(Help.defaultColorScheme(terminal.colorOut() ? Ansi.ON : Ansi.OFF))
                .setUsageHelpWidth(USAGE_WIDTH)
                .setAbbreviatedOptionsAllowed(false)
                .setParameterExceptionHandler(failures::usage)
                .setExecutionExceptionHandler(failures::execution);
    }

    /** Read by Failures alone, so no command has a field for it. */
    private static OptionSpec verbose() {
        return OptionSpec.builder(VERBOSE).description("Print stack traces of errors.").scopeType(ScopeType.INHERIT)
                .build();
    }

    private static void setVersion(CommandLine command) {
        command.getCommandSpec().versionProvider(new Version());
        command.getSubcommands().values().forEach(CommandTree::setVersion);
    }
}
