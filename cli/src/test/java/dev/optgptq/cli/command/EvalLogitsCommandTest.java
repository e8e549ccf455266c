package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import java.lang.foreign.MemorySegment;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.testing.SharedFiles;
import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorView;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalLogitsCommandTest {

    private static final Path GOLDEN = Models.fixture().resolve("golden.safetensors");

    @TempDir
    Path directory;

    @Test
    void logits_are_those_of_another_implementation() {
        Path output = directory.resolve("logits.safetensors");
        CommandRun.of("eval", "logits", Models.fixture(), "--input", GOLDEN, "--output", output).succeeds()
                .says("wrote logits F32 [2, 48, 320]");
        try (SafetensorsFile written = SafetensorsFile.open(output);
                SafetensorsFile golden = SafetensorsFile.open(
                        GOLDEN)) {
            TensorView ours = Objects.requireNonNull(written.tensors().get("logits"));
            TensorView theirs = Objects.requireNonNull(golden.tensors().get("logits"));
            assertEquals(Shape.of(2, 48, 320), ours.shape());
            assertClose(theirs, ours);
        }
        assertEquals(List.of("logits.safetensors"), Models.names(directory));
    }

    @Test
    void gradients_are_those_of_another_implementation_for_every_parameter() {
        Path gradients = directory.resolve("gradients.safetensors");
        CommandRun.of("eval", "logits", Models.fixture(), "--input", GOLDEN, "--output",
                directory.resolve("logits.safetensors"), "--gradients", gradients).succeeds()
                .says("wrote the loss and its gradient for every parameter");
        try (SafetensorsFile written = SafetensorsFile.open(gradients);
                SafetensorsFile golden = SafetensorsFile.open(
                        Models.fixture().resolve("golden-gradients.safetensors"))) {
            assertEquals(golden.tensors().keySet(), written.tensors().keySet());
            golden.tensors().forEach(
                    (name, theirs) -> assertClose(theirs, Objects.requireNonNull(written.tensors().get(name))));
        }
    }

    /** Within 1e-4 of the largest. */
    private static void assertClose(TensorView theirs, TensorView ours) {
        assertEquals(theirs.shape(), ours.shape());
        double largest = 0;
        double difference = 0;
        for (long i = 0; i < theirs.shape().elements(); i++) {
            float expected = theirs.data().getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i);
            float found = ours.data().getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i);
            largest = Math.max(largest, Math.abs(expected));
            difference = Math.max(difference, Math.abs(expected - found));
        }
        assertTrue(difference <= 1e-4 * largest, difference + " of " + largest);
    }

    @Test
    void a_file_without_input_ids_is_refused_with_what_it_lacks() {
        CommandRun.of("eval", "logits", Models.fixture(), "--input", Models.fixture().resolve("model.safetensors"),
                "--output", directory.resolve("logits.safetensors")).failsWith(1, "model.safetensors", "input_ids");
        assertEquals(List.of(), Models.names(directory));
    }

    @Test
    void an_input_that_is_no_safetensors_file_is_refused() throws IOException {
        Path input = Files.writeString(directory.resolve("ids.json"), "[1, 2, 3]");
        CommandRun.of("eval", "logits", Models.fixture(), "--input", input, "--output",
                directory.resolve("logits.safetensors")).failsWith(1, "ids.json");
        assertEquals(List.of("ids.json"), Models.names(directory));
    }

    @Test
    void an_output_that_cannot_be_written_is_named() throws IOException {
        Path file = Files.writeString(directory.resolve("file"), "not a directory");
        CommandRun.of("eval", "logits", Models.fixture(), "--input", GOLDEN, "--output", file.resolve("l.safetensors"))
                .failsWith(1, "file");
        assertEquals(List.of("file"), Models.names(directory));
    }

    @Test
    void sequences_longer_than_the_positions_are_warned_of_and_beyond_learned_ones_refused() throws IOException {
        Path longer = ids(300);

        CommandRun.of("eval", "logits", Models.fixture(), "--input", longer, "--output",
                directory.resolve("logits.safetensors")).succeeds()
                .says("warning: sequences of 300 tokens, while config.json says that the model takes up to 256");
        CommandRun.of("eval", "logits", SharedFiles.require("fixtures/opt"), "--input", longer, "--output",
                directory.resolve("refused.safetensors")).failsWith(1, "ids.safetensors", "at most 256 tokens",
                        "found 300");
        assertEquals(List.of("ids.safetensors", "logits.safetensors"), Models.names(directory));
    }

    /** One sequence of zeros. */
    private Path ids(int length) {
        Path file = directory.resolve("ids.safetensors");
        try (SafetensorsWriter writer = new SafetensorsWriter(file,
                List.of(new TensorSpec("input_ids", DType.I64, Shape.of(1, length))), Map.of())) {
            writer.write("input_ids", MemorySegment.ofArray(new long[length]));
            writer.finish();
        }
        return file;
    }
}
