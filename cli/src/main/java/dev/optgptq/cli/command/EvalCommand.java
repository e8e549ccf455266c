package dev.optgptq.cli.command;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

@Command(name = "eval", mixinStandardHelpOptions = true, header = "Measure a model: perplexity, or its raw logits.", synopsisSubcommandLabel = "(perplexity | logits)", description = "", footer = {
        "", "Examples:",
        "  opt-gptq eval perplexity out/w4 --baseline models/my-llama", "  opt-gptq eval perplexity --help"})
final class EvalCommand implements Runnable {

    @Spec
    private CommandSpec spec = CommandSpec.create();

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "say what to measure: eval perplexity, or eval logits");
    }
}
