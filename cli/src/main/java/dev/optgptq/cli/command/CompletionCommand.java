package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import java.util.concurrent.Callable;
import picocli.AutoComplete;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

@Command(name = "completion", mixinStandardHelpOptions = true, header = "Print a completion script for bash and zsh.", description = "", footer = {
        "",
        "For this shell:", "  source <(opt-gptq completion)", "For every new shell (bash):",
        "  opt-gptq completion > ~/.local/share/bash-completion/completions/opt-gptq"})
final class CompletionCommand implements Callable<Integer> {

    private final Console console;

    @Spec
    private CommandSpec spec = CommandSpec.create();

    CompletionCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        console.print(AutoComplete.bash(Version.TOOL, spec.root().commandLine()));
        return ExitCode.DONE;
    }
}
