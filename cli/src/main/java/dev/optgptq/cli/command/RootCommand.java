package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

@Command(name = "opt-gptq", mixinStandardHelpOptions = true, header = {
        "Makes language models smaller: GPTQ quantization on the JVM, without Python.", ""}, description = {
                "Reads a Hugging Face model directory (config.json, *.safetensors, tokenizer.json) and writes one that "
                        + "vLLM, transformers and GPTQModel load as it is."}, footer = {"",
                                "Try it, in a checkout:", "  opt-gptq quantize samples/wiki-tiny-llama", "",
                                "See what came out, and what it cost:",
                                "  opt-gptq inspect samples/wiki-tiny-llama-gptq-w4g128",
                                "  open samples/wiki-tiny-llama-gptq-w4g128/report.html", "",
                                "Every command explains itself: opt-gptq quantize --help", "",
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
