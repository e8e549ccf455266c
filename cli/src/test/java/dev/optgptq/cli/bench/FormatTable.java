package dev.optgptq.cli.bench;

import dev.optgptq.cli.Main;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.OutputFiles;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.packed.CheckpointFormat;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * A table of models by formats: {@code FormatTable MODELS OUT [MODEL...]}. Each model is quantized by rounding to nearest in each
 * format, written, read back, held against the original, and verified; a cell is the KL divergence in nats per token. MODELS holds
 * folders such as samples/interop/check_families.py --wide writes. Texts are random words, one a token.
 */
public final class FormatTable {

    private static final int GROUP = 32;
    private static final int WINDOW = 48;
    private static final int WORDS = 2048;
    private static final String NOTHING = "-";
    /** What says that a layer cannot be packed at these widths. */
    private static final Pattern ODD = Pattern.compile("\\.(\\w+): expected a multiple of 32 outputs");

    private final Path model;
    private final Path text;
    private final Path out;
    private final List<String> skipped = new ArrayList<>();

    /** A column: a format and a grid that it holds. */
    private record Column(String title, CheckpointFormat format, Object... options) {}

    /** A command line, run in this JVM. */
    private record Run(int exitCode, String out, String err) {

        static Run of(Object... args) {
            StringWriter out = new StringWriter();
            StringWriter err = new StringWriter();
            int exitCode = Main.run(new PrintWriter(out), new PrintWriter(err),
                    Stream.of(args).map(Object::toString).toArray(String[]::new));
            return new Run(exitCode, out.toString(), err.toString());
        }

        void requireSuccess() {
            if (exitCode != 0) {
                throw new IllegalStateException(err);
            }
        }
    }

    private static final List<Column> COLUMNS = List.of(
            new Column("gptq", CheckpointFormat.GPTQ, "--group-size", GROUP),
            new Column("gptq_v2, asymmetric", CheckpointFormat.GPTQ_V2, "--group-size", GROUP, "--no-symmetric"),
            new Column("compressed-tensors", CheckpointFormat.COMPRESSED_TENSORS, "--group-size", GROUP),
            new Column("the same, asymmetric", CheckpointFormat.COMPRESSED_TENSORS, "--group-size", GROUP,
                    "--no-symmetric"),
            new Column("awq", CheckpointFormat.AWQ, "--group-size", GROUP),
            new Column("mlx", CheckpointFormat.MLX, "--group-size", GROUP),
            new Column("w8a8", CheckpointFormat.W8A8), new Column("slimquant", CheckpointFormat.SLIMQUANT));

    private FormatTable(Path model, Path out) {
        this.model = out.resolve("model");
        this.text = out.resolve("text.txt");
        this.out = out;
        int vocabulary = Json.readObject(model.resolve("config.json"), Code.BAD_MODEL).path("vocab_size").intValue();
        try {
            Files.createDirectories(this.model);
            for (String file : List.of("config.json", "model.safetensors")) {
                Files.write(this.model.resolve(file), Files.readAllBytes(model.resolve(file)));
            }
            Files.writeString(this.model.resolve("tokenizer.json"), words(vocabulary));
            Random random = new Random(1);
            Files.writeString(text, IntStream.range(0, WORDS).mapToObj(i -> "w" + random.nextInt(vocabulary))
                    .collect(Collectors.joining(" ")));
        } catch (IOException e) {
            throw OutputFiles.failure(out, e);
        }
    }

    public static void main(String[] args) throws IOException {
        Path models = Path.of(args[0]);
        List<String> names;
        try (Stream<Path> all = Files.list(models)) {
            names = args.length > 2
                    ? List.of(args).subList(2, args.length)
                    : all.map(path -> String.valueOf(path.getFileName())).sorted().toList();
        }
        System.out.println("| model | " + COLUMNS.stream().map(Column::title).collect(Collectors.joining(" | "))
                + " | gguf |");
        System.out.println("|---|" + "---|".repeat(COLUMNS.size() + 1));
        for (String name : names) {
            System.out.println(new FormatTable(models.resolve(name), Path.of(args[1]).resolve(name)).row(name));
        }
    }

    private String row(String name) {
        List<String> cells = new ArrayList<>();
        COLUMNS.forEach(column -> cells.add(cell(column)));
        cells.add(gguf());
        return "| " + name.replaceAll("-1$", "") + (skipped.isEmpty() ? "" : ", without " + skipped.getFirst()) + " | "
                + String.join(" | ", cells) + " |";
    }

    private String cell(Column column) {
        Run run = quantize(column);
        Matcher odd = ODD.matcher(run.err());
        if (run.exitCode() != 0 && skipped.isEmpty() && odd.find()) {
            skipped.add(odd.group(1));
            run = quantize(column);
        }
        // Formats refuse before anything is computed, and say what else to use.
        if (run.exitCode() != 0 && run.err().contains("use --format")) {
            return NOTHING;
        }
        run.requireSuccess();
        Run.of("verify", output(column), "--against", model, "--device", "cpu").requireSuccess();
        double divergence = JsonMapper.shared().readTree(run.out()).path("quality").path("divergence").path("kl")
                .doubleValue();
        return String.format(Locale.ROOT, "%.5f", divergence);
    }

    private Run quantize(Column column) {
        List<Object> line = new ArrayList<>(List.of("quantize", model, "--output", output(column), "--overwrite",
                "--fresh", "--json", "--device", "cpu", "--calibrator", "rtn", "--format", column.format().label(),
                "--eval", text, "--window", WINDOW));
        line.addAll(List.of(column.options()));
        skipped.forEach(module -> line.addAll(List.of("--skip", ".*\\." + module)));
        return Run.of(line.toArray());
    }

    private Path output(Column column) {
        return out.resolve(column.title().replaceAll("\\W+", "-"));
    }

    /** Of the first column's checkpoint. A tokenizer of whole words has no place in GGUF; its tokens do not matter here. */
    private String gguf() {
        Path checkpoint = output(COLUMNS.getFirst());
        Path tokenizer = checkpoint.resolve("tokenizer.json");
        OutputFiles.replace(tokenizer,
                pairs(Json.readObject(tokenizer, Code.BAD_MODEL)).toString().getBytes(StandardCharsets.UTF_8));
        Run run = Run.of("export", "gguf", checkpoint, "--output", out.resolve("model.gguf"), "--overwrite");
        if (run.exitCode() == 0) {
            return "yes";
        }
        if (run.err().contains("expected a model_type")) {
            return NOTHING;
        }
        if (!run.err().contains("which is what llama.cpp computes")) {
            run.requireSuccess();
        }
        return "refused";
    }

    /** A word for each token. */
    private static String words(int vocabulary) {
        ObjectNode tokenizer = JsonMapper.shared().createObjectNode().put("version", "1.0");
        tokenizer.putArray("added_tokens");
        tokenizer.putObject("pre_tokenizer").put("type", "WhitespaceSplit");
        ObjectNode words = tokenizer.putObject("model").put("type", "WordLevel").put("unk_token", "w0")
                .putObject("vocab");
        for (int token = 0; token < vocabulary; token++) {
            words.put("w" + token, token);
        }
        return tokenizer.toString();
    }

    /** The same tokens as byte-level BPE that splits as GPT-2 does. */
    private static ObjectNode pairs(ObjectNode words) {
        words.putObject("pre_tokenizer").put("type", "ByteLevel").put("add_prefix_space", false)
                .put("trim_offsets", true).put("use_regex", true);
        ((ObjectNode) words.path("model")).put("type", "BPE").put("byte_fallback", false).putArray("merges");
        return words;
    }
}
