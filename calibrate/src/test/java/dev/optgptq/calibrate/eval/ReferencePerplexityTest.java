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
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Against the perplexities that the GPTQ authors' code measures on trained models, over the whole WikiText-2 test text. */
@Tag("slow")
class ReferencePerplexityTest {

    @ParameterizedTest
    @CsvSource({"wiki-llama-14m, 24.8650", "wiki-mpt-6m, 23.8553"})
    void unquantizedPerplexityIsTheirs(String model, double expected) {
        assumeTrue(model.equals("wiki-mpt-6m") || Boolean.getBoolean("opt-gptq.tests.long"),
                "takes minutes: -Dtest.module.args=-Dopt-gptq.tests.long=true");
        Path path = SharedFiles.require("models/" + model);
        Path text = SharedFiles.require("data/wikitext2-test.txt");
        try (Tokenizer tokenizer = Tokenizer.load(path);
                Device device = Devices.open("cpu", Runtime.getRuntime().availableProcessors());
                ModelDirectory directory = ModelDirectory.open(path)) {
            TokenSequences windows = Corpus.calibration(text).windows(
                    DocumentTokens.of(path, tokenizer, DocumentForm.DEFAULT), 1024);
            assertEquals(364_948 / 1024, windows.count());
            Perplexity found = Perplexity.evaluate(Transformer.open(directory, device), windows, Progress.SILENT);
            assertEquals(expected, found.perplexity(), 0.005);
        }
    }
}
