package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import dev.optgptq.formats.testing.SharedFiles;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

class InspectCommandTest {

    @Test
    void a_plain_model_is_described_for_people() {
        CommandRun run = CommandRun.of("inspect", Models.llama()).succeeds();
        run.prints("model type", "llama", "4 blocks, hidden size 128, MLP 384, vocabulary 4096",
                "head tied to the embedding", "4 heads of 32, 4 KV heads, up to 2048 positions", "1.4 M (1,377,408)",
                "16.00 bits per parameter", "BF16", "quantization  none", "model.layers.*.mlp.down_proj.weight",
                "[128, 384]");
        run.prints("groups", "none: each query head has keys and values of its own", "rotary, theta 10000, 32 elements",
                "2,048 bytes per token in 16 bits, 4.2 MB at 2,048 tokens");
        assertEquals("", run.err());
    }

    @Test
    void the_kv_cache_is_counted_for_the_context_that_is_asked_for() {
        CommandRun.of("inspect", Models.mpt(), "--context", "1000").succeeds().prints("ALiBi, bias at most 8",
                " at 1,000 tokens");
        CommandRun.of("inspect", Models.mpt(), "--context", "-1").failsWith(2, "--context");
    }

    @Test
    void the_same_is_told_to_programs_as_json() {
        JsonNode json = CommandRun.of("inspect", Models.mpt(), "--json").succeeds().json();
        assertEquals("mpt", json.get("modelType").asString());
        assertEquals(4, json.at("/architecture/blocks").asInt());
        assertEquals(2_623_744, json.get("bytes").asLong());
        assertTrue(json.get("quantization").isNull());
        assertTrue(json.get("notSupported").isNull());
    }

    @Test
    void a_mixture_says_how_many_experts_there_are_and_what_of_it_a_token_meets() {
        String mixtral = SharedFiles.require("fixtures/mixtral").toString();
        CommandRun.of("inspect", mixtral).succeeds().prints("experts", "4, 2 active, MLP 24, in 2 of 2 blocks",
                "router",
                "softmax, weights sum to 1", "(33,184), 24.0 k active");
        String deepseek = SharedFiles.require("fixtures/deepseek-v3").toString();
        CommandRun.of("inspect", deepseek).succeeds().prints(
                "8, 3 active, MLP 16, beside a shared one of 16, in 1 of 2 blocks", "sigmoid",
                "choice corrected by a bias", "within 2 of 4 groups by their best two experts", "times 2.5");
    }
}
