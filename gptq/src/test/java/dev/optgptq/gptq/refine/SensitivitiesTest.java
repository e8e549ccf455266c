package dev.optgptq.gptq.refine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.testing.SharedFixtures;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What quantizing one linear costs in loss. */
class SensitivitiesTest {

    private static final int SEQUENCES = 3;
    private static final int LENGTH = 4;

    /** One token again and again takes the same two of four experts everywhere, so that the others are met by none. */
    @Test
    void experts_that_no_token_meets_cost_nothing() {
        int[] ids = new int[SEQUENCES * LENGTH];
        Arrays.fill(ids, 7);
        TokenSequences text = new TokenSequences(ids, SEQUENCES, LENGTH);
        try (ModelDirectory source = SharedFixtures.open("mixtral"); Device device = Devices.open("cpu", 1)) {
            Transformer model = Transformer.open(source, device);
            Replicas models = Replicas.of(model);
            Saliency.Limits limits = new Saliency.Limits(1 << 24, 1 << 24, 1 << 24);
            try (Saliency saliency = Saliency.capture(models, text, new NextToken(), limits, Progress.SILENT);
                    ActivationStore stream = TinyBlock.embedded(model, text);
                    ActivationStore original = TinyBlock.embedded(model, text)) {
                Streams streams = new Streams(stream, original, null, LENGTH,
                        Partition.of((SEQUENCES - 1L) * LENGTH, LENGTH, LENGTH, 1, 1));

                Map<LinearSpec, double[]> losses = new Sensitivities(models, false, streams, saliency, ExpertPasses.ALL,
                        TinyBlock.SILENT).next(0,
                                linear -> linear.projection() == Projection.EXPERT_GATE
                                        ? List.of(TinyBlock.SETTINGS)
                                        : List.of());

                double[] each = losses.values().stream().mapToDouble(loss -> loss[0]).sorted().toArray();
                String found = Arrays.toString(each);
                assertEquals(4, each.length, found);
                assertTrue(each[0] == 0 && each[1] == 0, found);
                assertTrue(each[2] > 0 && each[3] > 0, found);
            }
        }
    }
}
