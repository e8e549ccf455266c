package dev.optgptq.calibrate.eval;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LogitsStreamTest {

    private static final int VOCABULARY = 320;
    private static final int LENGTH = 8;
    private static final int SEQUENCE_BYTES = LENGTH * 64 * Float.BYTES;
    private static final int LOGITS_ROW_BYTES = VOCABULARY * Float.BYTES;

    /** 12 sequences in batches of 1, 2, 5 and more, groups from 1 to all, logits from 1 row to all. */
    @ParameterizedTest
    @CsvSource({"1, 1, 1", "16, 3, 5", "40, 5, 7", "40, 100, 13", "1000, 1, 1000"})
    void logitsDoNotDependOnHowMuchIsDoneAtOnce(int batchTokens, int groupSequences, int logitsRows) {
        float[] atOnce = logits(LogitsStream.Limits.DEFAULT, Integer.MAX_VALUE);
        float[] inParts = logits(new LogitsStream.Limits(batchTokens, (long) groupSequences * SEQUENCE_BYTES,
                (long) logitsRows * LOGITS_ROW_BYTES), logitsRows);
        assertArrayEquals(atOnce, inParts);
    }

    private static float[] logits(LogitsStream.Limits limits, int mostRows) {
        TokenSequences golden = InputIds.read(Fixture.golden(Fixture.MPT), VOCABULARY);
        TokenSequences text = new TokenSequences(golden.ids(), golden.ids().length / LENGTH, LENGTH);
        float[] all = new float[golden.ids().length * VOCABULARY];
        int[] next = {0};
        try (Device device = TestDevices.reference();
                ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.MPT))) {
            Transformer model = Transformer.open(directory, device);
            LogitsStream.Source source = new LogitsStream.Source(model, "test");
            new LogitsStream(List.of(source), text, Progress.SILENT, limits).run((first, models) -> {
                Tensor logits = models.getFirst();
                assertEquals(next[0], first, "tokens come in order, each once");
                assertTrue(logits.rows() <= mostRows);
                float[] values = TestDevices.download(device, logits);
                System.arraycopy(values, 0, all, (int) first * VOCABULARY, values.length);
                next[0] += (int) logits.rows();
            });
        }
        assertEquals(golden.ids().length, next[0]);
        return all;
    }
}
