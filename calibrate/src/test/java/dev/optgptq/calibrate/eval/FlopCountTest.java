package dev.optgptq.calibrate.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.formats.model.ModelConfig;
import org.junit.jupiter.api.Test;

class FlopCountTest {

    private static final FlopCount FLOPS = new FlopCount(spec(0));

    @Test
    void linearsCountTwoPerWeight() {
        assertEquals(2 * (4 * 64 * 64 + 3 * 64 * 160), FLOPS.linears());
        assertEquals(2 * 64 * 320, FLOPS.head());
    }

    @Test
    void attentionCountsOnlyWhatIsVisible() {
        // 1 + 2 + 3 + 4 + 5 pairs of 64 products, for q k^T and for the mix of v.
        assertEquals(15 * 64 * 2 * 2, FLOPS.attention(5));
        // 1 + 2 + 2 + 2 + 2 pairs in a window of 2.
        assertEquals(9 * 64 * 2 * 2, new FlopCount(spec(2)).attention(5));
        assertEquals(15 * 64 * 2 * 2, new FlopCount(spec(5)).attention(5));
    }

    @Test
    void aHessianCountsOneTriangle() {
        assertEquals(64 * 65, FLOPS.hessian(InputSite.MLP_INPUT));
        assertEquals(160 * 161, FLOPS.hessian(InputSite.MLP_OUTPUT));
    }

    @Test
    void evaluationCountsEveryBlockAndTheHead() {
        assertEquals(3 * (2 * (5 * FLOPS.linears() + FLOPS.attention(5)) + 5 * FLOPS.head()), FLOPS.evaluation(3, 5));
    }

    @Test
    void gradientsCountABlockTwiceWithItsAttentionThreeAndAHalfTimesAndTheHeadTwice() {
        double blocks = 2 * (2 * 5 * FLOPS.linears() + 3.5 * FLOPS.attention(5));
        assertEquals(3 * (blocks + 2 * 5 * FLOPS.head()), FLOPS.gradients(3, 5, false));
    }

    @Test
    void blocksThatAreComputedAgainCountOnceMore() {
        double blocks = 2 * (3 * 5 * FLOPS.linears() + 4.5 * FLOPS.attention(5));
        assertEquals(3 * (blocks + 2 * 5 * FLOPS.head()), FLOPS.gradients(3, 5, true));
    }

    private static ModelSpec spec(int window) {
        ModelSpec spec = ModelSpec
                .resolve(ModelConfig.read(Fixture.directory(Fixture.LLAMA).resolve("config.json")));
        ModelSpec.Attention attention = spec.attention();
        return new ModelSpec(spec.family(), spec.hiddenSize(), spec.blocks(), spec.vocabSize(), spec.maxPositions(),
                spec.norm(), new ModelSpec.Attention(attention.heads(), attention.kvHeads(), attention.headDim(),
                        attention.scale(), window),
                spec.position(), spec.mlp(), spec.tiedHead(), spec.names(), spec.blockLinears());
    }
}
