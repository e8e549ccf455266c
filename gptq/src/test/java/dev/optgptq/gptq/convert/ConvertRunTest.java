package dev.optgptq.gptq.convert;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.tune.WeightStudent;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.stream.Stream;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A model directory in, a model directory with fewer key-value heads out. */
class ConvertRunTest {

    private static final int LENGTH = 16;
    private static final int SAMPLES = 8;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;
    private final List<String> log = new ArrayList<>();

    /** Models of four heads of their own. */
    enum Source {
        LLAMA, MPT, MPT_WITH_BIASES;

        private TinyModel model() {
            return switch (this) {
                case LLAMA ->
                    new TinyModel(TinyModel.Family.LLAMA, DType.BF16, 4, false, false, Long.MAX_VALUE).narrow();
                case MPT -> TinyModel.MPT.narrow();
                case MPT_WITH_BIASES -> TinyModel.MPT_WITH_BIASES.narrow();
            };
        }
    }

    static Stream<Source> sources() {
        return Stream.of(Source.values());
    }

    @ParameterizedTest
    @MethodSource("sources")
    void the_result_opens_as_a_model_of_the_same_family_with_fewer_key_value_heads(Source source) throws IOException {
        Path model = source.model().write(folder.resolve("model"));

        ConvertReport report = convert(model, "out", new Heads.Ratio(2), 1, Progress.SILENT);

        try (ModelDirectory before = ModelDirectory.open(model);
                ModelDirectory after = ModelDirectory.open(folder.resolve("out"))) {
            ModelSpec spec = ModelSpec.resolve(after);
            assertEquals(2, HeadPlan.attention(spec).kvHeads());
            assertEquals(4, HeadPlan.attention(spec).heads());
            assertEquals(ModelSpec.resolve(before).family(), spec.family());
            assertEquals(before.tensors().sequencedKeySet(), after.tensors().sequencedKeySet());
            for (TensorView view : before.tensors().values()) {
                boolean mayChange = view.name().matches(".*(attn|down_proj).*");
                assertEquals(view.dtype(), after.tensor(view.name()).dtype(), view.name());
                assertTrue(mayChange || view.data().mismatch(after.tensor(view.name()).data()) < 0, view.name());
            }
        }
        assertTrue(Files.exists(folder.resolve("out/tokenizer.json")), "the tokenizer goes along");
        assertEquals(TinyModel.BLOCKS, report.layers().size());
        assertEquals(2 * report.cache().bytesPerTokenAfter(), report.cache().bytesPerTokenBefore());
        ConvertReport.Quality quality = report.quality();
        assertNotNull(quality);
        assertTrue(quality.divergence().kl() > 0 && Double.isFinite(quality.after()), quality.toString());
    }

    @ParameterizedTest
    @EnumSource(Source.class)
    void every_number_of_threads_gives_the_same_files(Source source) throws IOException {
        Path model = source.model().write(folder.resolve("model"));
        convert(model, "one", new Heads.Count(1), 1, Progress.SILENT);

        convert(model, "three", new Heads.Count(1), 3, Progress.SILENT);

        assertEquals(checksums("one"), checksums("three"));
    }

    @ParameterizedTest
    @EnumSource(Source.class)
    void an_interrupted_run_goes_on_behind_the_last_layer_with_the_same_files(Source source) throws IOException {
        Path model = source.model().write(folder.resolve("model"));
        convert(model, "whole", new Heads.Ratio(2), 1, Progress.SILENT);

        assertThrows(CancellationException.class,
                () -> convert(model, "out", new Heads.Ratio(2), 1, (phase, done, total) -> {
                    if (phase.startsWith("block 2/2: values")) {
                        throw new CancellationException();
                    }
                }));
        assertFalse(Files.exists(folder.resolve("out")), "an output that is not complete");
        List<String> places = new ArrayList<>();
        convert(model, "out", new Heads.Ratio(2), 1, (phase, done, total) -> places.add(phase));

        assertTrue(places.contains("block 1/2: replayed"), places.toString());
        assertTrue(log.stream().anyMatch(line -> line.startsWith("resuming after block 1 of 2")), log.toString());
        assertEquals(checksums("whole"), checksums("out"));
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void healing_brings_the_predictions_closer_and_keeps_what_is_best(boolean tied) throws IOException {
        Path model = new TinyModel(TinyModel.Family.LLAMA, DType.F32, 4, tied, false, Long.MAX_VALUE).narrow()
                .write(folder.resolve("model"));

        ConvertReport report = heal(model, "out", WeightStudent.Scope.ALL, 1, Progress.SILENT);

        ConvertReport.Healed healed = report.healed();
        assertNotNull(healed);
        assertTrue(healed.after() < healed.before(), healed.toString());
        assertEquals(healed.after(), healed.curve().stream().mapToDouble(ConvertReport.Look::divergence).min()
                .orElseThrow());
    }

    @ParameterizedTest
    @EnumSource(WeightStudent.Scope.class)
    void healing_gives_the_same_files_for_every_number_of_threads_and_after_an_interruption(WeightStudent.Scope scope)
            throws IOException {
        Path model = Source.LLAMA.model().write(folder.resolve("model"));
        heal(model, "one", scope, 1, Progress.SILENT);

        heal(model, "three", scope, 3, Progress.SILENT);
        assertThrows(CancellationException.class, () -> heal(model, "out", scope, 1, (phase, done, total) -> {
            if (phase.startsWith("healing, step 5/")) {
                throw new CancellationException();
            }
        }));
        heal(model, "out", scope, 1, Progress.SILENT);

        assertTrue(log.stream().anyMatch(line -> line.startsWith("healing resumes after step 4 of 10")),
                log.toString());
        assertEquals(checksums("one"), checksums("three"));
        assertEquals(checksums("one"), checksums("out"));
    }

    @Test
    void without_a_rate_the_one_that_heals_most_in_a_short_trial_is_taken_and_an_interrupted_run_keeps_it()
            throws IOException {
        Path model = Source.LLAMA.model().write(folder.resolve("model"));
        ConvertReport.Healed healed = heal(model, "one", null, Progress.SILENT).healed();
        assertThrows(CancellationException.class, () -> heal(model, "out", null, (phase, done, total) -> {
            if (phase.startsWith("healing, step 1/")) {
                throw new CancellationException();
            }
        }));
        List<String> first = List.copyOf(log);
        log.clear();
        heal(model, "out", null, Progress.SILENT);

        assertNotNull(healed);
        ConvertReport.Trial best = healed.trials().stream()
                .min(Comparator.comparingDouble(trial -> Objects.requireNonNull(trial.divergence()))).orElseThrow();
        // Healing halves it where it leads astray, so it is the log that says what was taken.
        assertTrue(first.contains(String.format(Locale.ROOT, "healing with rate %.0e", best.rate())), first.toString());
        assertTrue(healed.rate() <= best.rate(), healed.toString());
        assertTrue(healed.trials().size() > 1, healed.toString());
        assertTrue(log.stream().noneMatch(line -> line.startsWith("healing, rate")), "tried again: " + log);
        assertEquals(checksums("one"), checksums("out"));
    }

    @Test
    void a_rate_that_makes_it_worse_leads_back_to_the_best_weights_with_half_of_it() throws IOException {
        Path model = Source.LLAMA.model().write(folder.resolve("model"));

        ConvertReport.Healed healed = heal(model, "out", 0.5, Progress.SILENT).healed();

        assertNotNull(healed);
        assertTrue(log.stream().anyMatch(line -> line.contains("worse than at first; resuming from the best weights")),
                log.toString());
        assertTrue(healed.rate() < 0.5, healed.toString());
        assertTrue(healed.after() <= healed.before(), healed.toString());
    }

    @Test
    void where_only_attention_is_healed_all_else_is_the_converted_models() throws IOException {
        Path model = Source.LLAMA.model().write(folder.resolve("model"));
        convert(model, "unhealed", new Heads.Count(1), 1, Progress.SILENT);

        heal(model, "out", WeightStudent.Scope.ATTENTION, 1, Progress.SILENT);

        try (ModelDirectory before = ModelDirectory.open(folder.resolve("unhealed"));
                ModelDirectory after = ModelDirectory.open(folder.resolve("out"))) {
            for (TensorView view : before.tensors().values()) {
                boolean same = view.data().mismatch(after.tensor(view.name()).data()) < 0;
                assertEquals(!view.name().contains("self_attn"), same, view.name());
            }
        }
    }

    @Test
    void heads_that_the_ratio_does_not_divide_are_refused_with_those_that_would_do() {
        Path model = TinyModel.MPT.narrow().write(folder.resolve("model"));

        assertUserError(Code.BAD_SETTING, () -> convert(model, "out", new Heads.Ratio(3), 1, Progress.SILENT),
                "--ratio 3", "4 key-value heads", "1, 2, 4");
        assertUserError(Code.BAD_SETTING, () -> convert(model, "out", new Heads.Count(8), 1, Progress.SILENT),
                "--kv-heads 8");
    }

    @Test
    void a_model_with_grouped_heads_is_merged_further_and_told_so() throws IOException {
        Path model = TinyModel.LLAMA.narrow().write(folder.resolve("model"));

        convert(model, "out", new Heads.Ratio(2), 1, Progress.SILENT);

        assertTrue(log.stream().anyMatch(line -> line.contains("already has grouped heads")), log.toString());
        try (ModelDirectory after = ModelDirectory.open(folder.resolve("out"))) {
            assertEquals(1, HeadPlan.attention(ModelSpec.resolve(after)).kvHeads());
        }
    }

    @Test
    void too_few_sequences_to_hold_any_out_are_refused() {
        Path model = TinyModel.MPT.narrow().write(folder.resolve("model"));
        assertUserError(Code.BAD_SETTING, () -> convert(model, "out", new Heads.Ratio(2), 1, 3, Progress.SILENT),
                "--samples 3", "at least 4");
    }

    private ConvertReport convert(Path model, String output, Heads heads, int threads, Progress progress)
            throws IOException {
        return convert(model, output, heads, threads, SAMPLES, progress);
    }

    private ConvertReport heal(Path model, String output, WeightStudent.Scope scope, int threads, Progress progress)
            throws IOException {
        return convert(model, output, new Heads.Count(1), threads, SAMPLES, progress,
                new ConvertSettings.Heal(10, null, scope, 1e-4, 0.01, 4, LENGTH, 5));
    }

    private ConvertReport heal(Path model, String output, @Nullable Double rate, Progress progress)
            throws IOException {
        return convert(model, output, new Heads.Count(1), 1, SAMPLES, progress,
                new ConvertSettings.Heal(10, null, WeightStudent.Scope.ALL, rate, 0, 4, LENGTH, 5));
    }

    private ConvertReport convert(Path model, String output, Heads heads, int threads, int samples,
            Progress progress) throws IOException {
        return convert(model, output, heads, threads, samples, progress, null);
    }

    private ConvertReport convert(Path model, String output, Heads heads, int threads, int samples,
            Progress progress, ConvertSettings.@Nullable Heal heal) throws IOException {
        try (Device device = Devices.open("cpu", threads)) {
            return ConvertRun.run(settings(model, output, heads, threads, samples, heal), device, "test 1", progress,
                    log::add);
        }
    }

    private ConvertSettings settings(Path model, String output, Heads heads, int threads, int samples,
            ConvertSettings.@Nullable Heal heal) throws IOException {
        Path text = folder.resolve("text.txt");
        Files.writeString(text, words());
        return new ConvertSettings(model, folder.resolve(output), heads, Grouping.CONTIGUOUS,
                ConvertSettings.Positions.KEEP,
                ConvertSettings.Form.AUTO,
                new ConvertSettings.Calibration(Corpus.calibration(text), Sampling.SEQUENTIAL, samples, LENGTH, 0),
                heal,
                new ConvertSettings.Evaluation(text, LENGTH), false, false, threads, false);
    }

    private static String words() {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < 600; i++) {
            text.append((char) ('a' + i * i % 23)).append(i % 7 == 0 ? ' ' : (char) ('k' + i % 11));
        }
        return text.toString();
    }

    /** Of the files that decide what a model computes. */
    private Map<String, Long> checksums(String output) throws IOException {
        Map<String, Long> checksums = new TreeMap<>();
        try (Stream<Path> files = Files.list(folder.resolve(output))) {
            for (Path file : files.filter(file -> file.toString().matches(".*(safetensors|config\\.json)")).toList()) {
                CRC32C crc = new CRC32C();
                crc.update(Files.readAllBytes(file));
                checksums.put(String.valueOf(file.getFileName()), crc.getValue());
            }
        }
        return checksums;
    }
}
