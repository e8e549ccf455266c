package dev.optgptq.cli.command;

import picocli.AutoComplete;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;

@Command(name = "completion", mixinStandardHelpOptions = true, description = {
        "Prints a completion script for bash and zsh.", "Use it with:  source <(opt-gptq completion)"})
final class CompletionCommand implements Runnable {

    @ParentCommand
    @SuppressWarnings("NullAway.Init") // picocli sets it before run()
    private OptGptq root;

    @Spec
    @SuppressWarnings("NullAway.Init") // picocli sets it before run()
    private CommandSpec spec;

    @Override
    public void run() {
        root.console().out().print(AutoComplete.bash("opt-gptq", spec.root().commandLine()));
        root.console().out().flush();
    }
}
