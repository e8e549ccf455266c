package dev.optgptq.calibrate.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.kernels.ops.CacheType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CachedPerplexityTest {

    @ParameterizedTest
    @CsvSource({"llama-gqa-rope-llama3, reference", "llama-gqa-rope-llama3, cpu", "mpt, cpu", "llama-mha, cpu"})
    void throughAFloatCacheItIsTheSame(String fixture, String device) {
        Generation.with(fixture, device, model -> {
            TokenSequences text = new TokenSequences(Generation.prompt(3, 2 * 150), 2, 150);
            double without = Perplexity.evaluate(model, text, Progress.SILENT).perplexity();
            double through = CachedPerplexity.evaluate(model, CacheType.F32, text, Progress.SILENT).perplexity();
            assertEquals(without, through, 1e-4 * without);
            double eight = CachedPerplexity.evaluate(model, CacheType.INT8, text, Progress.SILENT).perplexity();
            assertEquals(without, eight, 1e-2 * without);
            assertTrue(eight != through, "the type of the cache makes no difference");
            return null;
        });
    }
}
