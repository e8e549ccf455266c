package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

@Command(name = "opt-gptq", mixinStandardHelpOptions = true, header = {
        "Quantizes language models to 2, 3, 4 or 8 bits with GPTQ, on the JVM, without Python.", ""}, description = {
                "Reads a Hugging Face model directory (config.json, *.safetensors, tokenizer.json) and writes a checkpoint that "
                        + "vLLM, transformers and GPTQModel load."}, footer = {"",
                                "Quantize the sample model of a checkout:",
                                "  opt-gptq quantize samples/wiki-tiny-llama", "",
                                "Inspect the result and open its report:",
                                "  opt-gptq inspect samples/wiki-tiny-llama-gradient-w4g128",
                                "  xdg-open samples/wiki-tiny-llama-gradient-w4g128/report.html", "",
                                "Help on one command: opt-gptq quantize --help", "",
                                "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a threshold was missed."})
final class RootCommand implements Callable<Integer> {

    private final Console console;

    @Spec
    private CommandSpec spec = CommandSpec.create();

    RootCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        spec.commandLine().usage(console.out());
        return ExitCode.DONE;
    }
}
