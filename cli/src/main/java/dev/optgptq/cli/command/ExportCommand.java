package dev.optgptq.cli.command;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

@Command(name = "export", mixinStandardHelpOptions = true, abbreviateSynopsis = true, header = "Write a checkpoint in another runtime's format, without quantizing again.", synopsisSubcommandLabel = "FORMAT", description = "")
final class ExportCommand implements Runnable {

    @Spec
    private CommandSpec spec = CommandSpec.create();

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(),
                "say in which format: export gguf, gptq, gptq_v2, compressed-tensors, awq, w8a8, mlx or slimquant");
    }
}
