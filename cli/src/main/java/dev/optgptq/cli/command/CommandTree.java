package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.cli.console.Terminal;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.Supplier;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Help;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine;

/** The tree of all commands. */
public final class CommandTree {

    static final String VERBOSE = "--verbose";
    private static final String COMPLETION = "completion";
    private static final int USAGE_WIDTH = 100;

    private CommandTree() {}

    /**
     * The command line of one process. Only the command that the arguments name is built with its options; the others
     * are stubs that show a header in the root's help, since building them all takes longer than most calls.
     */
    public static CommandLine of(Console console, String... args) {
        CommandLine root = new CommandLine(new RootCommand(console));
        Set<String> named = Set.copyOf(Arrays.asList(args));
        boolean all = named.contains(COMPLETION);
        commands(console).forEach((name, command) -> root.addSubcommand(name,
                all || named.contains(name) ? command.whole().get() : listed(command.type())));
        root.getCommandSpec().addOption(verbose());
        setVersion(root);
        Failures failures = new Failures(console);
        Terminal terminal = console.terminal();
        return root.setOut(console.out()).setErr(console.err())
                .setColorScheme(Help.defaultColorScheme(terminal.colorOut() ? Ansi.ON : Ansi.OFF))
                .setUsageHelpWidth(USAGE_WIDTH)
                .setCaseInsensitiveEnumValuesAllowed(true)
                .setAbbreviatedOptionsAllowed(false)
                .setParameterExceptionHandler(failures::usage)
                .setExecutionExceptionHandler(failures::execution);
    }

    /**
     * A command before it is built.
     *
     * @param type the class with its annotation
     */
    private record Unbuilt(Class<?> type, Supplier<CommandLine> whole) {

        static Unbuilt of(Class<?> type, Supplier<?> command) {
            return new Unbuilt(type, () -> new CommandLine(command.get()));
        }
    }

    /** By name, in the order of the help. */
    private static SequencedMap<String, Unbuilt> commands(Console console) {
        SequencedMap<String, Unbuilt> commands = new LinkedHashMap<>();
        commands.put("quantize", new Unbuilt(QuantizeCommand.class, () -> QuantizeCommand.of(console)));
        commands.put("convert-gqa", new Unbuilt(ConvertGqaCommand.class, () -> ConvertGqaCommand.of(console)));
        commands.put("eval", new Unbuilt(EvalCommand.class, () -> new CommandLine(new EvalCommand())
                .addSubcommand(new EvalPerplexityCommand(console))
                .addSubcommand(new EvalLogitsCommand(console))));
        commands.put("generate", Unbuilt.of(GenerateCommand.class, () -> new GenerateCommand(console)));
        commands.put("export", new Unbuilt(ExportCommand.class, () -> new CommandLine(new ExportCommand())
                .addSubcommand(new ExportGgufCommand(console))
                .addSubcommand("gptq", ExportFormatCommand.of(console, CheckpointFormat.GPTQ))
                .addSubcommand("gptq_v2", ExportFormatCommand.of(console, CheckpointFormat.GPTQ_V2))
                .addSubcommand("compressed-tensors",
                        ExportFormatCommand.of(console, CheckpointFormat.COMPRESSED_TENSORS))
                .addSubcommand("awq", ExportFormatCommand.of(console, CheckpointFormat.AWQ))
                .addSubcommand("w8a8", ExportFormatCommand.of(console, CheckpointFormat.W8A8))
                .addSubcommand("mlx", ExportFormatCommand.of(console, CheckpointFormat.MLX))
                .addSubcommand("slimquant", ExportFormatCommand.of(console, CheckpointFormat.SLIMQUANT))));
        commands.put("verify", Unbuilt.of(VerifyCommand.class, () -> new VerifyCommand(console)));
        commands.put("inspect", Unbuilt.of(InspectCommand.class, () -> new InspectCommand(console)));
        commands.put("families", Unbuilt.of(FamiliesCommand.class, () -> new FamiliesCommand(console)));
        commands.put("devices", Unbuilt.of(DevicesCommand.class, () -> new DevicesCommand(console)));
        commands.put("bench", Unbuilt.of(BenchCommand.class, () -> new BenchCommand(console)));
        commands.put(COMPLETION, Unbuilt.of(CompletionCommand.class, () -> new CompletionCommand(console)));
        return commands;
    }

    /** What the root's help shows of a command. */
    private static CommandLine listed(Class<?> type) {
        CommandSpec spec = CommandSpec.create();
        spec.usageMessage().header(type.getAnnotation(Command.class).header());
        return new CommandLine(spec);
    }

    /** Read only by Failures, so no command has a field for it. */
    private static OptionSpec verbose() {
        return OptionSpec.builder(VERBOSE).description("Print stack traces of errors.").scopeType(ScopeType.INHERIT)
                .build();
    }

    private static void setVersion(CommandLine command) {
        command.getCommandSpec().versionProvider(new Version());
        command.getSubcommands().values().forEach(CommandTree::setVersion);
    }
}
