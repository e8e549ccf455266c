package dev.optgptq.calibrate.capture;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.TensorArena;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ExpertHessiansTest {

    private static final long SEED = 7;
    private static final int TOKENS = 60;
    private static final ModelSpec SPEC = ModelSpec
            .resolve(ModelConfig.read(Fixture.directory("mixtral").resolve("config.json")));

    /** An expert with as many tokens as inputs keeps its own; one with a quarter keeps a quarter; one without has the layer's. */
    @ParameterizedTest
    @EnumSource(value = InputSite.Kind.class, names = {"EXPERT_INPUT", "EXPERT_OUTPUT"})
    void fewTokensDrawAnExpertTowardsTheLayer(InputSite.Kind kind) {
        InputSite many = new InputSite(kind, 0);
        InputSite few = new InputSite(kind, 1);
        InputSite none = new InputSite(kind, 2);
        int n = SPEC.block(0).inputs(many);
        int fewTokens = n / 4;
        float[] ofMany = random(n * n);
        float[] ofFew = random(fewTokens * n);
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                HessianAccumulator hessians = new HessianAccumulator(device, SPEC.block(0), Set.of(many, few, none),
                        TOKENS)) {
            hessians.begin(Shard.whole(TOKENS));
            hessians.at(many, TestDevices.upload(device, arena, n, ofMany));
            hessians.at(few, TestDevices.upload(device, arena, fewTokens, ofFew));
            assertEquals(0, hessians.tokens(none));

            double[] manyAlone = hessian(ofMany, n);
            double[] fewAlone = hessian(ofFew, n);
            double[] layer = layer(kind, manyAlone, n, fewAlone, fewTokens, n);
            assertClose(manyAlone, TestDevices.download(device, hessians.hessian(many)));
            // What is given away is no longer needed by the others.
            hessians.release(many);
            double[] drawn = new double[n * n];
            for (int i = 0; i < drawn.length; i++) {
                drawn[i] = 0.25 * fewAlone[i] + 0.75 * layer[i];
            }
            assertClose(drawn, TestDevices.download(device, hessians.hessian(few)));
            assertClose(layer, TestDevices.download(device, hessians.hessian(none)));
        }
    }

    /** Of the second batch's tokens 1, 2, 5, ... of the batch: each has its own weight. */
    @Test
    void tokensOfAnExpertHaveTheirOwnWeights() {
        InputSite expert = new InputSite(InputSite.Kind.EXPERT_INPUT, 1);
        int n = SPEC.block(0).inputs(expert);
        int[] tokens = IntStream.range(0, n).map(i -> i + i / 2).toArray();
        int batch = tokens[n - 1] + 1;
        float[] factors = random(2 * batch);
        float[] x = random(n * n);
        float[] scaled = x.clone();
        for (int i = 0; i < scaled.length; i++) {
            scaled[i] *= factors[batch + tokens[i / n]];
        }
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                HessianAccumulator hessians = new HessianAccumulator(device, SPEC.block(0), Set.of(expert),
                        2L * batch)) {
            hessians.weigh(expert, TestDevices.upload(device, arena, 1, factors));
            hessians.begin(Shard.whole(2L * batch));
            hessians.batch(batch);
            hessians.at(expert, TestDevices.upload(device, arena, n, x), HostVectors.upload(device, arena, tokens));

            double[] expected = hessian(scaled, n);
            assertClose(expected, TestDevices.download(device, hessians.hessian(expert)));
            assertClose(expected, TestDevices.download(device, hessians.hessian(expert)));
        }
    }

    /** The mean over all their tokens; of outputs the mean of its diagonal alone. */
    private static double[] layer(InputSite.Kind kind, double[] first, int tokens, double[] second, int otherTokens,
            int n) {
        double[] mean = new double[n * n];
        double trace = 0;
        for (int i = 0; i < mean.length; i++) {
            mean[i] = (tokens * first[i] + otherTokens * second[i]) / (tokens + otherTokens);
            trace += i % (n + 1) == 0 ? mean[i] : 0;
        }
        if (kind == InputSite.Kind.EXPERT_INPUT) {
            return mean;
        }
        double[] round = new double[n * n];
        for (int i = 0; i < n; i++) {
            round[i * (n + 1)] = trace / n;
        }
        return round;
    }

    /** 2 / tokens sum x x^T. */
    private static double[] hessian(float[] x, int n) {
        int tokens = x.length / n;
        double[] h = new double[n * n];
        for (int t = 0; t < tokens; t++) {
            for (int i = 0; i < n; i++) {
                for (int j = 0; j < n; j++) {
                    h[i * n + j] += 2.0 / tokens * x[t * n + i] * x[t * n + j];
                }
            }
        }
        return h;
    }

    private static void assertClose(double[] expected, float[] found) {
        for (int i = 0; i < expected.length; i++) {
            assertEquals(expected[i], found[i], 1e-5, "element " + i + ", seed " + SEED);
        }
    }

    private static float[] random(int count) {
        Random random = new Random(SEED + count);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }
}
