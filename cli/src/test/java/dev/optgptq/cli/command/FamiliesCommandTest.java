package dev.optgptq.cli.command;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.formats.testing.SharedFiles;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FamiliesCommandTest {

    @Test
    void lists_every_family_with_what_it_answers_to() {
        CommandRun.of("families").succeeds().prints("llama", "LlamaForCausalLM", "mpt", "qwen3", "gemma3_text",
                "norm_type \"layer_norm\" or absent");
    }

    @Test
    void json_lists_the_same() {
        CommandRun.of("families", "--json").succeeds().prints("\"name\" : \"llama\"", "\"modelTypes\"");
    }

    @Test
    void a_folder_without_golden_values_is_refused_by_name(@TempDir Path folder) {
        CommandRun.of("families", "--check", folder.toString(), "--device", "cpu").failsWith(1, "golden.safetensors",
                "CONTRIBUTING");
    }

    @Test
    void one_folder_of_several_that_fails_does_not_keep_the_others_from_being_checked(@TempDir Path folder) {
        String gpt2 = SharedFiles.require("fixtures/gpt2").toString();
        CommandRun.of("families", "--check", folder.toString(), gpt2, "--device", "cpu").failsWith(1).prints(
                folder + ":", "error: " + folder, gpt2 + ":", "agrees within 0.000100", "1 of 2 agree within 0.000100");
        CommandRun.of("families", "--check", folder.toString(), gpt2, "--device", "cpu", "--json").failsWith(1).prints(
                "\"checks\"", "\"error\" : \"" + folder, "\"family\" : \"gpt2\"");
    }
}
