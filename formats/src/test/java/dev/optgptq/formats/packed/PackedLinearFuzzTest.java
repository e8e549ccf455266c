package dev.optgptq.formats.packed;

import static dev.optgptq.formats.testing.Fuzzing.succeedsOrUserError;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;

class PackedLinearFuzzTest {

    @FuzzTest(maxDuration = "1m")
    void any_bytes_are_a_quantization_config_or_an_error(byte[] bytes) {
        succeedsOrUserError(() -> {
            String text = Json.decodeUtf8(ByteBuffer.wrap(bytes), "config.json", Code.BAD_MODEL);
            QuantizationConfig.fromJson(Json.parseObject(text, "config.json", Code.BAD_MODEL), "config.json");
        });
    }

    /**
     * A safetensors file whose metadata holds the quantization_config, and whose tensors are those of the module "m".
     * Whatever is accepted unpacks without leaving a segment, to codes and zero points of the stated bits.
     */
    @FuzzTest(maxDuration = "1m")
    void any_bytes_are_a_packed_linear_or_an_error(byte[] bytes) throws IOException {
        Path path = Files.createTempFile("fuzzed", ".safetensors");
        try {
            Files.write(path, bytes);
            succeedsOrUserError(() -> {
                try (SafetensorsFile file = SafetensorsFile.open(path)) {
                    String config = file.metadata().getOrDefault("quantization_config", "{}");
                    unpack(PackedLinearReader.read("m", file.tensors(), QuantizationConfig
                            .fromJson(Json.parseObject(config, "config.json", Code.BAD_MODEL), "config.json")));
                }
            });
        } finally {
            Files.delete(path);
        }
    }

    private static void unpack(PackedLinear linear) {
        byte[] codes = new byte[linear.inputs() * linear.outputs()];
        Packing.unpackWeights(linear.qweight(), linear.bits(), linear.inputs(), linear.outputs(),
                MemorySegment.ofArray(codes));
        int[] zeros = new int[linear.groups() * linear.outputs()];
        Packing.unpackZeros(linear.qzeros(), linear.bits(), linear.groups(), linear.outputs(), linear.zeroOffset(),
                MemorySegment.ofArray(zeros));
        int limit = 1 << linear.bits();
        for (byte code : codes) {
            requireBelow(limit, code & 0xff);
        }
        for (int zero : zeros) {
            requireBelow(limit, zero);
        }
    }

    private static void requireBelow(int limit, int value) {
        if (value < 0 || value >= limit) {
            throw new AssertionError("expected a value below " + limit + ", found " + value);
        }
    }
}
