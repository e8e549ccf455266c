package dev.optgptq.calibrate.weights;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.TensorArena;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A file that is cut off while it is mapped: reading beyond its end is a SIGBUS, with which vector code would take the
 * process with it. This test then ends without a result.
 */
class ShrunkFileTest {

    private static final String LINEAR = "model.layers.0.mlp.down_proj";

    @TempDir
    Path folder;

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "reference"})
    void loading_a_weight_says_which_file_was_cut_off(String name) throws IOException {
        withCutFile(name, (loader) -> {
            try (TensorArena arena = loader.device().arena()) {
                var shape = loader.directory().tensor(LINEAR + ".weight").shape();
                loader.plain(LINEAR, null, (int) shape.dimension(0), (int) shape.dimension(1), arena);
            }
        });
    }

    @Test
    void looking_through_the_embedding_says_which_file_was_cut_off() throws IOException {
        withCutFile("cpu", loader -> {
            var shape = loader.directory().tensor("model.embed_tokens.weight").shape();
            loader.requireFinite("model.embed_tokens.weight", shape.dimension(0), shape.dimension(1));
        });
    }

    /** Reads often enough that compiled code reads, truncates the file after its header, and reads once more. */
    private void withCutFile(String deviceName, Consumer<WeightLoader> read) throws IOException {
        Path model = copy(Fixture.directory(Fixture.LLAMA));
        try (Device device = Devices.open(deviceName, 2); ModelDirectory directory = ModelDirectory.open(model)) {
            WeightLoader loader = new WeightLoader(directory, device, DType.F32, new PrefetchedTensors());
            for (int i = 0; i < (deviceName.equals("cpu") ? 200 : 2); i++) {
                read.accept(loader);
            }
            TensorView view = directory.tensor(LINEAR + ".weight");
            try (FileChannel channel = FileChannel.open(view.file(), StandardOpenOption.WRITE)) {
                channel.truncate(64);
            }
            UserError error = assertThrows(UserError.class, () -> read.accept(loader));
            assertEquals(UserError.Code.BAD_MODEL, error.code());
            assertTrue(String.valueOf(error.getMessage()).contains(view.file() + ", tensor 'model.")
                    && String.valueOf(error.getMessage()).contains("the file has 64 bytes now"), error.getMessage());
        }
    }

    private Path copy(Path model) throws IOException {
        for (String name : new String[] {"config.json", "model.safetensors"}) {
            Files.copy(model.resolve(name), folder.resolve(name));
        }
        return folder;
    }
}
