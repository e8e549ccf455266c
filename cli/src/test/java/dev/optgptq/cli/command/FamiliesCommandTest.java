package dev.optgptq.cli.command;

import dev.optgptq.cli.testing.CommandRun;
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
}
