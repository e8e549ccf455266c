package dev.optgptq.calibrate.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.calibrate.weights.ParameterKind;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ForwardBackwardTest {

    /** The golden gradients tell whether backward is right; this, that going both ways at once is the same. */
    @ParameterizedTest
    @ValueSource(strings = {Fixture.LLAMA, Fixture.LLAMA_GQA, Fixture.MPT})
    void bothWaysAtOnceGiveWhatOneAfterTheOtherGives(String fixture) {
        try (Device device = Devices.open("cpu", 2);
                ModelDirectory directory = ModelDirectory.open(Fixture.directory(fixture));
                TensorArena arena = device.arena()) {
            Transformer model = Transformer.open(directory, device);
            TokenSequences text = InputIds.read(Fixture.golden(fixture), model.spec().vocabSize());
            int rows = (int) text.tokens();
            BlockWeights block = model.loadBlock(0, arena);
            Backward.Workspace workspace = model.backward().workspace(arena, rows, text.length());
            Tensor ids = arena.vector(DType.I32, rows);
            text.upload(device, 0, ids);
            Tensor x = arena.matrix(DType.F32, rows, model.spec().hiddenSize());
            Tensor expected = arena.matrix(DType.F32, rows, model.spec().hiddenSize());
            Tensor y = arena.matrix(DType.F32, rows, model.spec().hiddenSize());
            model.embed(ids, text.length(), x);

            // The loss is half the squared distance between the block's output and its input.
            device.matrix().copy(x, expected);
            model.forward(block, expected, Backward.forwardPart(workspace), InputTap.NONE);
            device.matrix().subtract(expected, x, expected);
            BlockWeights apart = model.backward().zeroGradients(block, arena);
            model.backward().block(block, x, expected, workspace, OutputTap.NONE, apart);
            BlockWeights together = model.backward().zeroGradients(block, arena);
            model.backward().forwardBackward(block, x, y, workspace, out -> device.matrix().subtract(out, x, out),
                    together);

            assertArrayEquals(floats(device, expected), floats(device, y));
            model.parameters().all(apart).forEach((name, gradient) -> {
                float[] found = floats(device, Objects.requireNonNull(model.parameters().all(together).get(name)));
                assertArrayEquals(floats(device, gradient), found, name.toString());
                assertTrue(found[0] != 0, () -> name + " has a gradient");
            });
        }
    }

    /** In a block, and after the last: each kind for itself has the bits that it has beside the other. */
    @ParameterizedTest
    @ValueSource(strings = {Fixture.LLAMA, Fixture.LLAMA_GQA, Fixture.MPT})
    void gradientsOfOneKindAreThoseOfAllKinds(String fixture) {
        try (Device device = Devices.open("cpu", 2);
                ModelDirectory directory = ModelDirectory.open(Fixture.directory(fixture));
                TensorArena arena = device.arena()) {
            Transformer model = Transformer.open(directory, device);
            TokenSequences text = InputIds.read(Fixture.golden(fixture), model.spec().vocabSize());
            Tensor x = arena.matrix(DType.F32, text.tokens(), model.spec().hiddenSize());
            Tensor ids = arena.vector(DType.I32, text.tokens());
            text.upload(device, 0, ids);
            model.embed(ids, text.length(), x);
            Kinds kinds = new Kinds(device, model, arena, x, text.length());

            Map<String, float[]> all = kinds.gradients(EnumSet.allOf(ParameterKind.class));
            Map<String, float[]> norms = kinds.gradients(EnumSet.of(ParameterKind.NORM));
            Map<String, float[]> linears = kinds.gradients(EnumSet.of(ParameterKind.LINEAR));

            assertTrue(norms.keySet().stream().allMatch(name -> name.contains("norm")), norms.keySet()::toString);
            assertEquals(all.size(), norms.size() + linears.size());
            all.forEach((name, gradient) -> {
                float[] found = (norms.containsKey(name) ? norms : linears).get(name);
                assertArrayEquals(gradient, found, name.toString());
            });
        }
    }

    /** The first block, and the head on the same input, whose logits are taken for the gradients for them. */
    private record Kinds(Device device, Transformer model, TensorArena arena, Tensor x, int length) {

        private Map<String, float[]> gradients(Set<ParameterKind> kinds) {
            Map<String, float[]> found = new LinkedHashMap<>();
            BlockWeights block = model.loadBlock(0, arena);
            BlockWeights ofBlock = model.backward().zeroGradients(block, arena, kinds);
            Tensor d = arena.matrix(DType.F32, x.rows(), x.columns());
            device.matrix().copy(x, d);
            model.backward().block(block, x, d, model.backward().workspace(arena, (int) x.rows(), length),
                    OutputTap.NONE,
                    ofBlock);
            Head head = model.loadHead(arena);
            Head ofHead = model.backward().zeroGradients(head, arena, kinds);
            Tensor normed = arena.matrix(DType.F32, x.rows(), x.columns());
            Tensor logits = arena.matrix(DType.F32, x.rows(), model.spec().vocabSize());
            model.logits(head, x, normed, logits);
            model.backward().head(head, x, normed, logits, logits, d, ofHead);
            model.parameters().all(ofBlock)
                    .forEach((name, gradient) -> found.put(name.toString(), floats(device, gradient)));
            model.parameters().all(ofHead)
                    .forEach((name, gradient) -> found.put(name.toString(), floats(device, gradient)));
            return found;
        }
    }

    private static float[] floats(Device device, Tensor tensor) {
        try (Arena host = Arena.ofConfined()) {
            MemorySegment bytes = host.allocate(ValueLayout.JAVA_FLOAT, tensor.elements());
            device.download(tensor, bytes);
            return bytes.toArray(ValueLayout.JAVA_FLOAT);
        }
    }
}
