package dev.optgptq.gptq.convert.layout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** The code that is copied beside an opt_gqa model, run by transformers where this machine has it. */
class RemoteCodeTest {

    private static final String SCRIPT = """
            import sys, torch
            from safetensors.torch import load_file
            from transformers import AutoModelForCausalLM
            model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True, dtype=torch.float32)
            golden = load_file(sys.argv[2])
            with torch.no_grad():
                found = model(golden["input_ids"]).logits
                print("error", ((found - golden["logits"]).abs().max() / golden["logits"].abs().max()).item())
                prompt = golden["input_ids"][:1, :5]
                tokens = model.generate(prompt, max_new_tokens=4, do_sample=False)
                again = model(tokens[:, :-1]).logits.argmax(-1)
            print("generated", tokens[0, 5:].tolist() == again[0, 4:].tolist())
            """;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void transformers_computes_what_the_fixture_says_with_and_without_a_cache() throws Exception {
        assumeTrue(run("import torch, transformers, safetensors").exit() == 0,
                "python3 with torch, transformers and safetensors is not on this machine");
        Path fixture = fixture();
        Files.copy(fixture.resolve("model.safetensors"), folder.resolve("model.safetensors"));
        for (String name : RemoteCode.FILES) {
            Files.write(folder.resolve(name), RemoteCode.bytes(name));
        }
        ObjectNode config = (ObjectNode) JsonMapper.shared().readTree(fixture.resolve("config.json").toFile());
        ObjectNode code = config.putObject("auto_map");
        code.put("AutoConfig", "configuration_opt_gqa.OptGqaConfig");
        code.put("AutoModelForCausalLM", "modeling_opt_gqa.OptGqaForCausalLM");
        Files.writeString(folder.resolve("config.json"), config.toString());

        Finished python = run(SCRIPT, folder.toString(), fixture.resolve("golden.safetensors").toString());

        assertEquals(0, python.exit(), python.output());
        List<String> lines = python.output().lines().toList();
        double error = lines.stream().filter(line -> line.startsWith("error "))
                .mapToDouble(line -> Double.parseDouble(line.substring("error ".length()))).findFirst().orElseThrow();
        assertTrue(error < 1e-5, python.output());
        assertTrue(lines.contains("generated True"), python.output());
    }

    private record Finished(int exit, String output) {}

    private static Finished run(String script, String... args) throws InterruptedException {
        ProcessBuilder builder = new ProcessBuilder("python3", "-c", script).redirectErrorStream(true);
        builder.command().addAll(List.of(args));
        try {
            Process process = builder.start();
            String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            return new Finished(process.waitFor(), output);
        } catch (IOException noPython) {
            return new Finished(-1, noPython.toString());
        }
    }

    private static Path fixture() {
        Path above = Path.of("").toAbsolutePath();
        while (above != null && !Files.isDirectory(above.resolve("shared/fixtures/opt-gqa"))) {
            above = above.getParent();
        }
        assumeTrue(above != null, "no folder shared/fixtures/opt-gqa above this one");
        return Objects.requireNonNull(above).resolve("shared/fixtures/opt-gqa");
    }
}
