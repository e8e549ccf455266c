package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.WrittenCheckpoint.Entry;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** What stands beside the packed tensors: config, the tensors that were not quantized, companions, shards. */
class CheckpointFilesTest {

    private static final JsonMapper JSON = new JsonMapper();

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    /** Keys, types and values of the notes on the format, section 1.8. */
    @Test
    void the_quantization_config_is_the_block_that_every_loader_reads() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.groupSize = 128;
        run.run();

        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        JsonNode expected = JSON.readTree("""
                {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": true, "desc_act": false,
                 "lm_head": false, "checkpoint_format": "gptq", "format": "gptq", "pack_dtype": "int32",
                 "damp_percent": 0.01, "true_sequential": false, "static_groups": true,
                 "meta": {"quantizer": ["opt-gptq:9.9.9"]}, "block_name_to_quantize": "model.layers"}""");
        assertEquals(expected, written.json("quantize_config.json"));
        assertEquals(expected, written.json("config.json").get("quantization_config"));
    }

    @ParameterizedTest
    @CsvSource({"NONE, 32, true, GPTQ, false, false", "STATIC, 32, false, GPTQ_V2, false, true",
            "GROUP, 32, true, GPTQ_V2, true, false", "GROUP, -1, true, GPTQ, false, false"})
    void the_config_tells_readers_what_the_tensors_are(ActOrder actOrder, int groupSize, boolean symmetric,
            CheckpointFormat format, boolean descAct, boolean staticGroups) {
        TinyRun run = new TinyRun(TinyModel.MPT.write(folder.resolve("model")), folder);
        run.actOrder = actOrder;
        run.groupSize = groupSize;
        run.symmetric = symmetric;
        run.format = format;
        run.run();

        JsonNode config = WrittenCheckpoint.read(run.output).json("config.json").get("quantization_config");
        assertEquals(descAct, config.get("desc_act").asBoolean(), "desc_act");
        assertEquals(staticGroups, config.get("static_groups").asBoolean(), "static_groups");
        assertEquals(groupSize, config.get("group_size").asInt(), "group_size");
        assertEquals(symmetric, config.get("sym").asBoolean(), "sym");
        assertEquals(format == CheckpointFormat.GPTQ ? "gptq" : "gptq_v2", config.get("checkpoint_format").asString());
        assertEquals("transformer.blocks", config.get("block_name_to_quantize").asString());
    }

    @ParameterizedTest
    @EnumSource(ActOrder.class)
    void round_to_nearest_claims_nothing_that_only_gptq_does(ActOrder actOrder) {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.RTN;
        run.actOrder = actOrder;
        run.trueSequential = true;
        run.run();

        JsonNode config = WrittenCheckpoint.read(run.output).json("quantize_config.json");
        assertFalse(config.get("desc_act").asBoolean(), "desc_act");
        assertFalse(config.get("static_groups").asBoolean(), "static_groups");
        assertFalse(config.get("true_sequential").asBoolean(), "true_sequential");
        assertFalse(config.has("damp_percent"), "damp_percent");
    }

    @ParameterizedTest
    @EnumSource(TinyModel.Family.class)
    void the_rest_of_the_config_is_the_sources_but_for_the_dtype(TinyModel.Family family) {
        Path model = TinyModel.of(family).write(folder.resolve("model"));
        TinyRun run = new TinyRun(model, folder);
        run.calibrator = CalibratorKind.RTN;
        run.run();

        ObjectNode expected = (ObjectNode) WrittenCheckpoint.read(model).json("config.json");
        ObjectNode found = (ObjectNode) WrittenCheckpoint.read(run.output).json("config.json");
        assertEquals("float16", found.get("torch_dtype").asString());
        assertEquals("float16", found.get("dtype").asString());
        found.remove(Set.of("quantization_config", "dtype", "torch_dtype"));
        expected.remove(Set.of("dtype", "torch_dtype"));
        assertEquals(expected, found);
    }

    @ParameterizedTest
    @CsvSource({"LLAMA, BF16", "LLAMA, F32", "MPT, F16"})
    void tensors_that_are_not_quantized_keep_their_bytes(TinyModel.Family family, DType dtype) {
        Path model = TinyModel.of(family).withDtype(dtype).write(folder.resolve("model"));
        TinyRun run = new TinyRun(model, folder);
        run.run();

        WrittenCheckpoint source = WrittenCheckpoint.read(model);
        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        Set<String> kept = new TreeSet<>(source.tensors().keySet());
        for (String module : written.modules()) {
            assertTrue(kept.remove(module + ".weight"), module + " has a source");
        }
        assertEquals((family == TinyModel.Family.LLAMA ? 3 : 2) + 2 * TinyModel.BLOCKS, kept.size());
        for (String name : kept) {
            Entry before = source.tensor(name);
            Entry after = written.tensor(name);
            assertEquals(before.layout(), after.layout(), name);
            assertArrayEquals(before.data(), after.data(), name);
        }
    }

    @Test
    void a_tied_head_is_neither_quantized_nor_written_twice() {
        Path model = TinyModel.LLAMA.withTiedHead().write(folder.resolve("model"));
        TinyRun run = new TinyRun(model, folder);
        run.evaluate = true;
        run.run();

        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        assertTrue(written.json("config.json").get("tie_word_embeddings").asBoolean());
        assertEquals(Set.of(), written.tensors().keySet().stream().filter(name -> name.startsWith("lm_head"))
                .collect(Collectors.toSet()));
    }

    @Test
    void the_files_of_the_model_go_along() throws IOException {
        Path model = TinyModel.LLAMA.write(folder.resolve("model"));
        TinyRun run = new TinyRun(model, folder);
        run.calibrator = CalibratorKind.RTN;
        run.run();

        Set<String> companions = Set.of("tokenizer.json", "tokenizer_config.json", "generation_config.json",
                "README.md");
        Set<String> all = new HashSet<>(companions);
        all.addAll(List.of("model.safetensors", "config.json", "quantize_config.json", ".opt-gptq"));
        assertEquals(all, names(run.output));
        for (String name : companions) {
            assertEquals(-1, Files.mismatch(model.resolve(name), run.output.resolve(name)), name);
        }
    }

    @Test
    void a_sharded_model_becomes_the_checkpoint_of_the_model_in_one_file() throws IOException {
        TinyRun whole = new TinyRun(TinyModel.LLAMA.write(folder.resolve("whole")), folder);
        whole.run();
        Path shards = TinyModel.LLAMA.inShardsOf(200_000).write(folder.resolve("shards"));
        assertTrue(Files.exists(shards.resolve("model-00002-of-00005.safetensors")), names(shards).toString());
        TinyRun sharded = new TinyRun(shards, folder);
        sharded.output = folder.resolve("from-shards");
        sharded.run();

        assertSameTensors(WrittenCheckpoint.read(whole.output), WrittenCheckpoint.read(sharded.output));
    }

    @Test
    void a_large_output_is_split_and_its_index_names_the_file_of_every_tensor() {
        Path model = TinyModel.LLAMA.write(folder.resolve("model"));
        TinyRun whole = new TinyRun(model, folder);
        whole.run();
        TinyRun split = new TinyRun(model, folder);
        split.output = folder.resolve("split");
        split.shardBytes = 100_000;
        split.evaluate = true;
        split.run();

        WrittenCheckpoint written = WrittenCheckpoint.read(split.output);
        assertSameTensors(WrittenCheckpoint.read(whole.output), written);
        JsonNode index = written.json("model.safetensors.index.json");
        long bytes = 0;
        for (String name : written.tensors().keySet()) {
            assertEquals(written.tensor(name).file(), index.get("weight_map").get(name).asString(), name);
            bytes += written.tensor(name).data().length;
        }
        assertEquals(written.tensors().size(), index.get("weight_map").size());
        assertEquals(bytes, index.get("metadata").get("total_size").asLong());
    }

    private static void assertSameTensors(WrittenCheckpoint expected, WrittenCheckpoint found) {
        assertEquals(expected.tensors().keySet(), found.tensors().keySet());
        expected.tensors()
                .forEach((name, entry) -> assertArrayEquals(entry.data(), found.tensor(name).data(), name));
    }

    private static Set<String> names(Path directory) throws IOException {
        Set<String> names = new TreeSet<>();
        try (var files = Files.list(directory)) {
            files.forEach(file -> names.add(String.valueOf(file.getFileName())));
        }
        return names;
    }
}
