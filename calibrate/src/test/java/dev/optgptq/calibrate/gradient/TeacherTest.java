package dev.optgptq.calibrate.gradient;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TeacherTest {

    private static final int LENGTH = 48;
    private static final int[] SWAPPED = {1, 0};

    @ParameterizedTest
    @ValueSource(strings = {Fixture.LLAMA_GQA, Fixture.MPT})
    void aModelThatIsItsOwnTeacherHasNothingToLearn(String fixture) {
        try (Taught taught = new Taught(fixture)) {
            Found found = taught.run(new Teacher(taught.outputs, SWAPPED), taught.text.select(SWAPPED));

            for (double loss : found.losses) {
                assertEquals(0, loss, 1e-9);
            }
            for (float gradient : found.embedded) {
                assertEquals(0, gradient, 1e-5);
            }
        }
    }

    @Test
    void theSequencesOfAnotherOrderTeachSomethingElse() {
        try (Taught taught = new Taught(Fixture.LLAMA)) {
            Found found = taught.run(new Teacher(taught.outputs, new int[] {0, 1}), taught.text.select(SWAPPED));

            assertTrue(Arrays.stream(found.losses).sum() > 0.1, () -> Arrays.toString(found.losses));
        }
    }

    @Test
    void anotherNumberOfSequencesIsRefused() {
        try (Taught taught = new Taught(Fixture.LLAMA)) {
            Teacher one = new Teacher(taught.outputs, new int[] {0});
            assertThrows(IllegalArgumentException.class, () -> taught.run(one, taught.text));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {Fixture.LLAMA_GQA, Fixture.MPT})
    void evaluatingGivesTheLossesThatARunDoes(String fixture) {
        try (Taught taught = new Taught(fixture)) {
            Found run = taught.run(new NextToken(), taught.text);
            Found evaluated = new Found(taught.device, taught.text);

            taught.stream(new NextToken(), taught.text).evaluate(evaluated);

            assertArrayEquals(run.losses, evaluated.losses);
            assertTrue(run.losses[0] > 0, "there are losses");
        }
    }

    /** A fixture with its two sequences, and what its last block puts out for them. */
    private static final class Taught implements AutoCloseable {
        private final Device device = Devices.open("cpu", 1);
        private final ModelDirectory directory;
        private final Transformer model;
        private final TokenSequences text;
        private final ActivationStore outputs;

        private Taught(String fixture) {
            directory = ModelDirectory.open(Fixture.directory(fixture));
            model = Transformer.open(directory, device);
            text = InputIds.read(Fixture.golden(fixture), model.spec().vocabSize());
            outputs = new ActivationStore(text.tokens(), model.spec().hiddenSize(), Long.MAX_VALUE);
            try (TensorArena arena = device.arena()) {
                Tensor ids = arena.vector(DType.I32, text.tokens());
                Tensor x = arena.matrix(DType.F32, text.tokens(), model.spec().hiddenSize());
                text.upload(device, 0, ids);
                model.embed(ids, text.length(), x);
                Transformer.Workspace workspace = model.workspace(arena, (int) text.tokens(), LENGTH);
                for (int block = 0; block < model.spec().blocks(); block++) {
                    BlockWeights weights = model.loadBlock(block, arena);
                    model.forward(weights, x, workspace, InputTap.NONE);
                }
                outputs.write(device, 0, x);
                device.synchronize();
            }
        }

        private Found run(Objective objective, TokenSequences sequences) {
            Found found = new Found(device, sequences);
            stream(objective, sequences).run(1, found);
            return found;
        }

        /** Logits in chunks that end within sequences. */
        private GradientStream stream(Objective objective, TokenSequences sequences) {
            long logits = 7L * model.spec().vocabSize() * Float.BYTES;
            return new GradientStream(model, model::loadBlock, sequences, objective, "test", Progress.SILENT,
                    new GradientStream.Limits(2 * LENGTH, Long.MAX_VALUE, logits, Long.MAX_VALUE, 0));
        }

        @Override
        public void close() {
            outputs.close();
            directory.close();
            device.close();
        }
    }

    /** Losses by token, and the gradient for the embeddings. */
    private static final class Found implements GradientStream.Listener {
        private final Device device;
        private final double[] losses;
        private float[] embedded = {};

        private Found(Device device, TokenSequences sequences) {
            this.device = device;
            losses = new double[(int) sequences.tokens()];
        }

        @Override
        public void loss(long firstToken, Tensor found) {
            try (Arena host = Arena.ofConfined()) {
                MemorySegment values = host.allocate(ValueLayout.JAVA_DOUBLE, found.columns());
                device.download(found, values);
                MemorySegment.copy(values, ValueLayout.JAVA_DOUBLE, 0, losses, (int) firstToken,
                        (int) found.columns());
            }
        }

        @Override
        public void embedded(Tensor ids, Tensor d) {
            embedded = TestDevices.download(device, d);
        }
    }
}
