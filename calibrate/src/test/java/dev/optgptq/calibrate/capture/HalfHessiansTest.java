package dev.optgptq.calibrate.capture;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Error of a trained model's Hessians with an fp16/bf16 matmul dtype, as on a GPU; a CPU widens the inputs. */
class HalfHessiansTest {

    private static final Path SAMPLES = Path.of("../samples");
    private static final int TOKENS = 2048;
    private static final int LENGTH = 256;
    private static final long SEED = 4;

    /** Inputs are rounded by up to 2^-9 and 2^-12 of themselves; in a sum over tokens most of that cancels. */
    @ParameterizedTest
    @CsvSource({"wiki-tiny-llama, BF16, 2e-3", "wiki-tiny-llama, F16, 2.5e-4", "wiki-tiny-mpt, BF16, 2e-3",
            "wiki-tiny-mpt, F16, 2.5e-4"})
    void the_hessian_of_every_site_of_a_block_is_nearly_that_of_float32(String name, DType half, double bound) {
        try (Device device = Devices.open("cpu", 2);
                ModelDirectory directory = ModelDirectory.open(SAMPLES.resolve(name));
                TensorArena arena = device.arena()) {
            Transformer model = Transformer.open(directory, device);
            Tensor x = arena.matrix(DType.F32, TOKENS, model.spec().hiddenSize());
            model.embed(ids(device, arena, model.spec().vocabSize()), TOKENS, x);
            for (int block = 0; block < model.spec().blocks(); block++) {
                Map<InputSite, float[]> exact = hessians(model, block, x);
                Map<InputSite, float[]> rounded = hessians(model.withProducts(half), block, x);
                for (InputSite site : exact.keySet()) {
                    double difference = difference(exact.getOrDefault(site, new float[0]),
                            rounded.getOrDefault(site, new float[0]));
                    String where = name + ", " + half + ", block " + block + ", " + site.label() + ", seed " + SEED;
                    assertTrue(difference <= bound, () -> where + ": off by " + difference);
                }
                model.forward(model.loadBlock(block, arena), x, model.workspace(arena, TOKENS, LENGTH),
                        InputTap.NONE);
            }
        }
    }

    private static Map<InputSite, float[]> hessians(Transformer model, int block, Tensor x) {
        Device device = model.device();
        Set<InputSite> sites = model.spec().block(block).sites();
        Map<InputSite, float[]> found = new HashMap<>();
        try (TensorArena arena = device.arena();
                HessianAccumulator hessians = new HessianAccumulator(device, model.spec().block(block), sites,
                        TOKENS)) {
            Tensor copy = arena.matrix(DType.F32, x.rows(), x.columns());
            device.matrix().copy(x, copy);
            BlockWeights weights = model.loadBlock(block, arena);
            hessians.begin(Shard.whole(TOKENS));
            model.forward(weights, copy, model.workspace(arena, TOKENS, LENGTH), hessians);
            sites.forEach(site -> found.put(site, TestDevices.download(device, hessians.hessian(site))));
        }
        return found;
    }

    private static Tensor ids(Device device, TensorArena arena, int vocabulary) {
        Tensor ids = arena.vector(DType.I32, TOKENS);
        device.upload(MemorySegment.ofArray(new SplittableRandom(SEED).ints(TOKENS, 0, vocabulary).toArray()), ids);
        return ids;
    }

    /** In the Frobenius norm, relative to the exact one. */
    private static double difference(float[] exact, float[] rounded) {
        double difference = 0;
        double size = 0;
        for (int i = 0; i < exact.length; i++) {
            difference += Math.pow((double) rounded[i] - exact[i], 2);
            size += Math.pow(exact[i], 2);
        }
        return Math.sqrt(difference / size);
    }
}
