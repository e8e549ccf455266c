package dev.optgptq.cli.command;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;

@Command(name = "eval", mixinStandardHelpOptions = true, subcommands = {PerplexityCommand.class,
        LogitsCommand.class}, description = "Measures a model.")
final class EvalCommand implements Runnable {

    @ParentCommand
    @SuppressWarnings("NullAway.Init") // picocli sets it before run()
    private OptGptq root;

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it before run()
    private CommandSpec spec;

    OptGptq root() {
        return root;
    }

    @Override
    public void run() {
        spec.commandLine().usage(root.console().out());
    }
}
