package dev.optgptq.calibrate.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
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
            Transformer.BackwardWorkspace workspace = model.backwardWorkspace(arena, rows, text.length());
            Tensor ids = arena.vector(DType.I32, rows);
            text.upload(device, 0, ids);
            Tensor x = arena.matrix(DType.F32, rows, model.spec().hiddenSize());
            Tensor expected = arena.matrix(DType.F32, rows, model.spec().hiddenSize());
            Tensor y = arena.matrix(DType.F32, rows, model.spec().hiddenSize());
            model.embed(ids, x);

            // The loss is half the squared distance between the block's output and its input.
            device.matrix().copy(x, expected);
            model.forward(block, expected, Transformer.forwardPart(workspace), InputTap.NONE);
            device.matrix().subtract(expected, x, expected);
            BlockWeights apart = model.zeroGradients(block, arena);
            model.backward(block, x, expected, workspace, OutputTap.NONE, apart);
            BlockWeights together = model.zeroGradients(block, arena);
            model.forwardBackward(block, x, y, workspace, out -> device.matrix().subtract(out, x, out), together);

            assertArrayEquals(floats(device, expected), floats(device, y));
            model.parameters(apart).forEach((name, gradient) -> {
                float[] found = floats(device, Objects.requireNonNull(model.parameters(together).get(name)));
                assertArrayEquals(floats(device, gradient), found, name);
                assertTrue(found[0] != 0, () -> name + " has a gradient");
            });
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
