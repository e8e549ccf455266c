package dev.optgptq.gptq.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import dev.optgptq.gptq.report.Ablation.Models;
import dev.optgptq.gptq.report.Ablation.Step;
import dev.optgptq.gptq.report.Ablation.Times;
import dev.optgptq.gptq.report.Ablation.Total;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class AblationTest {

    /** Two steps in two blocks, one of which was not kept, and one over the whole model. */
    private static final List<Step> STEPS = List.of(
            step("token weights", 0, 0.010, 0.008, true),
            step("learned rounding", 0, 0.008, 0.006, true),
            step("token weights", 1, 0.020, 0.021, false),
            step("learned rounding", 1, 0.020, 0.010, true),
            step("tuned scales", null, 0.5, 0.4, true));

    @Test
    void totalsCountWhatWasKeptAndWhatAllCost() {
        Ablation found = of(8, Map.of("token weights", 12.0), STEPS, Map.of("tuned scales", 0.4));
        // One that was not kept did nothing: (-0.2 + 0) / 2; and (-0.25 - 0.5) / 2.
        assertEquals(List.of("token weights", "learned rounding", "tuned scales"),
                found.totals().stream().map(Total::name).toList());
        assertTotal(1, 2, -0.1, 4 + 12, 2, found.totals().get(0));
        assertTotal(2, 2, -0.375, 4, 0.5, found.totals().get(1));
        assertTotal(1, 1, -0.2, 2, 0.25, found.totals().get(2));
        assertNull(found.totals().get(0).heldOutLoss());
        assertEquals(0.4, found.totals().get(2).heldOutLoss());
    }

    @Test
    void lossesWithoutARatioCountAsNoChange() {
        Ablation found = of(8, Map.of(),
                List.of(step("token weights", 0, 0, 0, true), step("token weights", 1, 1, 0.5, true)), Map.of());
        assertEquals(-0.25, found.totals().getFirst().meanChange());
    }

    @Test
    void whereThePlainTimeIsUnknownThereIsNoShareOfIt() {
        assertNull(of(0, Map.of(), STEPS, Map.of()).totals().getFirst().shareOfPlainGptqTime());
    }

    @Test
    void aStepSaysWhereItWasTried() {
        assertEquals("block 1", STEPS.get(2).scope());
        assertEquals("whole model", STEPS.get(4).scope());
    }

    private static Ablation of(double plainSeconds, Map<String, Double> beside, List<Step> steps,
            Map<String, Double> lossAfter) {
        return Ablation.of("text", 1024, "nats", new Models(null, null, null, null, null, lossAfter),
                new Times(plainSeconds, beside), steps);
    }

    private static Step step(String name, @Nullable Integer block, double before, double after, boolean kept) {
        return new Step(name, block, "error of the block's output", before, after, kept, 2, null);
    }

    private static void assertTotal(int keptIn, int of, double change, double seconds, double share, Total found) {
        assertEquals(keptIn, found.keptIn());
        assertEquals(of, found.of());
        assertEquals(change, found.meanChange(), 1e-12);
        assertEquals(seconds, found.seconds());
        assertEquals(share, found.shareOfPlainGptqTime());
    }
}
