package dev.optgptq.cli.bench;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.gguf.GgufExport;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.Companion;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.packed.QuantizationConfig.Provenance;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * {@code ExportSpeed DIR TOKENIZER_JSON [LAYERS]}: the time of export gguf beside that of copying the file that it wrote, by reading and
 * writing 8 MB at a time, and within the kernel; all synced. The model has Llama-2-7B's shape (32 layers, 4 bits, groups of 128, random codes), or that with fewer layers; DIR keeps it.
 */
public final class ExportSpeed {

    private static final int HIDDEN = 4096;
    private static final int INTERMEDIATE = 11008;
    private static final int VOCABULARY = 32000;
    private static final int LAYERS = 32;
    private static final int ROUNDS = 5;
    private static final int PIECE = 8 << 20;
    private static final String CONFIG = """
            {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float16", "hidden_act": "silu",
             "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32, "num_key_value_heads": 32,
             "vocab_size": 32000, "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
             "tie_word_embeddings": false}""";
    private static final QuantizationConfig GRID = new QuantizationConfig(4, 128, true, false, CheckpointFormat.GPTQ);

    private ExportSpeed() {}

    public static void main(String[] args) throws IOException {
        Path folder = Path.of(args[0]);
        int layers = args.length > 2 ? Integer.parseInt(args[2]) : LAYERS;
        Path model = folder.resolve("random-7b-" + layers);
        if (Files.notExists(model)) {
            Files.createDirectories(folder);
            write(model, Path.of(args[1]), layers);
        }
        Path exported = folder.resolve("export.gguf");
        Path copied = folder.resolve("copy.gguf");
        System.out.println("| round | export s | read and write s | ratio | copy within the kernel s | ratio |\n"
                + "|---|---|---|---|---|---|");
        for (int round = 1; round <= ROUNDS; round++) {
            double export = seconds(exported, () -> {
                try (ModelDirectory directory = ModelDirectory.open(model)) {
                    GgufExport.write(directory, exported);
                }
            });
            double readAndWritten = seconds(copied, () -> readAndWrite(exported, copied));
            double copy = seconds(copied, () -> copy(exported, copied));
            System.out.printf(Locale.ROOT, "| %d | %.2f | %.2f | %.2f | %.2f | %.2f |%n", round, export, readAndWritten,
                    export / readAndWritten, copy, export / copy);
        }
        Files.deleteIfExists(exported);
        Files.deleteIfExists(copied);
    }

    /** What writes a file. */
    private interface Writing {
        void run() throws IOException;
    }

    private static double seconds(Path file, Writing writing) throws IOException {
        Files.deleteIfExists(file);
        long start = System.nanoTime();
        writing.run();
        return (System.nanoTime() - start) / 1e9;
    }

    private static void readAndWrite(Path from, Path to) throws IOException {
        ByteBuffer piece = ByteBuffer.allocateDirect(PIECE);
        try (FileChannel source = FileChannel.open(from, StandardOpenOption.READ);
                FileChannel target = FileChannel.open(to, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            while (source.read(piece) >= 0) {
                piece.flip();
                while (piece.hasRemaining()) {
                    target.write(piece);
                }
                piece.clear();
            }
            target.force(true);
        }
    }

    private static void copy(Path from, Path to) throws IOException {
        try (FileChannel source = FileChannel.open(from, StandardOpenOption.READ);
                FileChannel target = FileChannel.open(to, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            for (long at = 0; at < source.size();) {
                at += source.transferTo(at, PIECE, target);
            }
            target.force(true);
        }
    }

    private static void write(Path model, Path tokenizer, int layers) {
        List<String> packed = new ArrayList<>();
        List<TensorSpec> specs = new ArrayList<>();
        plain(specs, "model.embed_tokens", VOCABULARY, HIDDEN);
        for (int layer = 0; layer < layers; layer++) {
            String in = "model.layers." + layer + ".";
            plain(specs, in + "input_layernorm", HIDDEN);
            plain(specs, in + "post_attention_layernorm", HIDDEN);
            Stream.of("q", "k", "v", "o")
                    .forEach(part -> linear(specs, packed, in + "self_attn." + part + "_proj", HIDDEN, HIDDEN));
            linear(specs, packed, in + "mlp.gate_proj", HIDDEN, INTERMEDIATE);
            linear(specs, packed, in + "mlp.up_proj", HIDDEN, INTERMEDIATE);
            linear(specs, packed, in + "mlp.down_proj", INTERMEDIATE, HIDDEN);
        }
        plain(specs, "model.norm", HIDDEN);
        plain(specs, "lm_head", VOCABULARY, HIDDEN);
        try (CheckpointWriter writer = new CheckpointWriter(model, specs, CheckpointWriter.DEFAULT_SHARD_BYTES, true)) {
            SplittableRandom random = new SplittableRandom(1);
            for (TensorSpec spec : specs) {
                try (Arena arena = Arena.ofConfined()) {
                    writer.write(spec.name(), values(spec, random, arena));
                }
            }
            ObjectNode config = (ObjectNode) JsonMapper.shared().readTree(CONFIG);
            config.put("num_hidden_layers", layers);
            config.set("quantization_config",
                    GRID.toJson(new Provenance("opt-gptq:bench", 0.01, false, false), packed, List.of("lm_head")));
            writer.writeJson("config.json", config);
            writer.copy(new Companion(Path.of("tokenizer.json"), tokenizer));
            writer.finishTensors();
            writer.finish();
        }
    }

    private static void plain(List<TensorSpec> specs, String module, long... shape) {
        specs.add(new TensorSpec(module + ".weight", DType.F16, Shape.of(shape)));
    }

    private static void linear(List<TensorSpec> specs, List<String> packed, String module, int inputs, int outputs) {
        packed.add(module);
        specs.addAll(new PackedLayout(module, GRID.bits(), GRID.groupSize(), inputs, outputs).tensors());
    }

    private static MemorySegment values(TensorSpec spec, SplittableRandom random, Arena arena) {
        MemorySegment values = arena.allocate(spec.bytes(), Long.BYTES);
        if (spec.name().endsWith(PackedPart.GROUPS.suffix())) {
            for (int input = 0; input < spec.shape().elements(); input++) {
                values.setAtIndex(ValueLayout.JAVA_INT, input, input / GRID.groupSize());
            }
        } else if (spec.name().endsWith(PackedPart.ZEROS.suffix())) {
            values.fill((byte) 0x77);
        } else if (spec.dtype() == DType.F16) {
            for (long i = 0; i < spec.shape().elements(); i++) {
                values.setAtIndex(ValueLayout.JAVA_SHORT, i, Floats.toF16(random.nextFloat() / 64));
            }
        } else {
            for (long i = 0; i < spec.bytes() / Integer.BYTES; i++) {
                values.setAtIndex(ValueLayout.JAVA_INT, i, random.nextInt());
            }
        }
        return values;
    }
}
