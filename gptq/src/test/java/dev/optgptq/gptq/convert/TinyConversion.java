package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.run.Checksums;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import org.jspecify.annotations.Nullable;

/** A conversion as the command line would start it, on little text; tests change the fields they are about. */
final class TinyConversion {

    static final int LENGTH = 16;
    static final int SAMPLES = 8;
    /** Key-value heads of {@link #llama}. */
    static final int HEADS = 4;

    Heads heads = new Heads.Ratio(2);
    Grouping grouping = Grouping.CONTIGUOUS;
    Positions positions = Positions.KEEP;
    int samples = SAMPLES;
    int sequenceLength = LENGTH;
    ConvertSettings.@Nullable Heal heal;
    boolean evaluate;
    boolean force;
    int threads = 1;
    final List<String> log = new ArrayList<>();

    private final Path model;
    private final Path folder;

    /** @param folder of the outputs */
    TinyConversion(Path model, Path folder) {
        this.model = model;
        this.folder = folder;
    }

    /** A model in which every query head has keys and values of its own. */
    static TinyModel llama(DType dtype) {
        return new TinyModel(TinyModel.Family.LLAMA, dtype, HEADS, false, false, Long.MAX_VALUE).narrow();
    }

    /** Settings with calibration on a text, the bundled one for null. */
    ConvertSettings settings(String output, @Nullable Path text) {
        return new ConvertSettings(model, folder.resolve(output), heads, grouping, positions,
                ConvertSettings.Form.AUTO,
                new ConvertSettings.Calibration(Corpus.calibration(text), Sampling.SEQUENTIAL, samples, sequenceLength,
                        0),
                heal, evaluate ? new ConvertSettings.Evaluation(text, LENGTH) : null, false, false, threads, force);
    }

    ConvertReport run() {
        return run("out");
    }

    ConvertReport run(String output) {
        return run(output, Progress.SILENT);
    }

    ConvertReport run(String output, Progress progress) {
        try (Device device = Devices.open("cpu", threads)) {
            return ConvertRun.run(settings(output, text()), device, "test 1", progress, log::add);
        }
    }

    /** As if it were killed where the progress shows a phase that starts like this. */
    void runUntil(String output, String phase) {
        Progress killer = (now, done, total) -> {
            if (now.startsWith(phase)) {
                throw new CancellationException();
            }
        };
        try {
            run(output, killer);
        } catch (CancellationException expected) {
            return;
        }
        throw new AssertionError("it never came to " + phase);
    }

    /** Of the files that it wrote, by name. */
    Map<String, Long> checksums(String output) {
        return Checksums.of(folder.resolve(output));
    }

    private Path text() {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < 600; i++) {
            text.append((char) ('a' + i * i % 23)).append(i % 7 == 0 ? ' ' : (char) ('k' + i % 11));
        }
        try {
            return Files.writeString(folder.resolve("text.txt"), text);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
