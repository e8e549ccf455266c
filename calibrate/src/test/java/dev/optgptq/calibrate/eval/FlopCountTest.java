package dev.optgptq.calibrate.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.formats.model.ModelConfig;
import org.junit.jupiter.api.Test;

class FlopCountTest {

    private static final FlopCount FLOPS = new FlopCount(spec(0));
    private static final BlockSpec BLOCK = spec(0).block(0);

    @Test
    void linearsCountTwoPerWeight() {
        assertEquals(2 * (4 * 64 * 64 + 3 * 64 * 160), FLOPS.linears(BLOCK));
        assertEquals(2 * 64 * 320, FLOPS.head());
    }

    @Test
    void attentionCountsOnlyWhatIsVisible() {
        // 1 + 2 + 3 + 4 + 5 pairs of 64 products, for q k^T and for the mix of v.
        assertEquals(15 * 64 * 2 * 2, FLOPS.attention(BLOCK, 5));
        // 1 + 2 + 2 + 2 + 2 pairs in a window of 2.
        assertEquals(9 * 64 * 2 * 2, FLOPS.attention(spec(2).block(0), 5));
        assertEquals(15 * 64 * 2 * 2, FLOPS.attention(spec(5).block(0), 5));
    }

    @Test
    void aHessianCountsOneTriangle() {
        assertEquals(64 * 65, FlopCount.hessian(BLOCK, InputSite.MLP_INPUT));
        assertEquals(160 * 161, FlopCount.hessian(BLOCK, InputSite.MLP_OUTPUT));
    }

    @Test
    void evaluationCountsEveryBlockAndTheHead() {
        assertEquals(3 * (2 * (5 * FLOPS.linears(BLOCK) + FLOPS.attention(BLOCK, 5)) + 5 * FLOPS.head()),
                FLOPS.evaluation(3, 5));
    }

    @Test
    void gradientsCountABlockTwiceWithItsAttentionThreeAndAHalfTimesAndTheHeadTwice() {
        double blocks = 2 * (2 * 5 * FLOPS.linears(BLOCK) + 3.5 * FLOPS.attention(BLOCK, 5));
        assertEquals(3 * (blocks + 2 * 5 * FLOPS.head()), FLOPS.gradients(3, 5, false));
    }

    @Test
    void blocksThatAreComputedAgainCountOnceMore() {
        double blocks = 2 * (3 * 5 * FLOPS.linears(BLOCK) + 4.5 * FLOPS.attention(BLOCK, 5));
        assertEquals(3 * (blocks + 2 * 5 * FLOPS.head()), FLOPS.gradients(3, 5, true));
    }

    private static ModelSpec spec(int window) {
        ModelSpec spec = ModelSpec
                .resolve(ModelConfig.read(Fixture.directory(Fixture.LLAMA).resolve("config.json")));
        return spec.withBlocks(block -> block.withMixer(
                ((Mixer.Attention) block.mixer()).withWindow(window)));
    }
}
