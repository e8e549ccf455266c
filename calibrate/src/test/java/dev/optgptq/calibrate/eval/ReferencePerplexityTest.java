package dev.optgptq.calibrate.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.DocumentForm;
import dev.optgptq.calibrate.data.DocumentTokens;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.testing.SharedFiles;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Against perplexities that others' code measures on trained models, on the WikiText-2 test text. */
@Tag("slow")
class ReferencePerplexityTest {

    private static final int WINDOW = 1024;

    /** By transformers 5.18 on the first 24 windows: float32, eager attention, the mean over windows of a window's loss. */
    @ParameterizedTest
    @CsvSource({"wiki-llama-14m, 24.104865", "wiki-mpt-6m, 23.783053"})
    void theFirstWindowsHaveThePerplexityOfTransformers(String model, double expected) {
        assertEquals(expected, perplexity(model, 24), 1e-4 * expected);
    }

    /** By the GPTQ authors' code on the whole text. */
    @ParameterizedTest
    @CsvSource({"wiki-llama-14m, 24.8650", "wiki-mpt-6m, 23.8553"})
    void theWholeTextHasThePerplexityOfTheAuthorsCode(String model, double expected) {
        assumeTrue(Boolean.getBoolean("opt-gptq.tests.long"),
                "takes minutes: -Dtest.module.args=-Dopt-gptq.tests.long=true");
        assertEquals(expected, perplexity(model, 364_948 / WINDOW), 0.005);
    }

    private static double perplexity(String model, int count) {
        Path path = SharedFiles.require("models/" + model);
        Path text = SharedFiles.require("data/wikitext2-test.txt");
        try (Tokenizer tokenizer = Tokenizer.load(path);
                Device device = Devices.open("cpu", Runtime.getRuntime().availableProcessors());
                ModelDirectory directory = ModelDirectory.open(path)) {
            TokenSequences all = Corpus.calibration(text).windows(
                    DocumentTokens.of(path, tokenizer, DocumentForm.DEFAULT), WINDOW);
            assertEquals(364_948 / WINDOW, all.count());
            TokenSequences windows = all.select(IntStream.range(0, count).toArray());
            return Perplexity.evaluate(Transformer.open(directory, device), windows, Progress.SILENT).perplexity();
        }
    }
}
