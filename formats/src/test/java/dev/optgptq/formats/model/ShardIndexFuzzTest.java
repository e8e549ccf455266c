package dev.optgptq.formats.model;

import static dev.optgptq.formats.testing.Fuzzing.succeedsOrUserError;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import java.nio.ByteBuffer;
import java.nio.file.Path;

class ShardIndexFuzzTest {

    /** Whatever is accepted names files of the directory itself. */
    @FuzzTest(maxDuration = "1m")
    void any_bytes_are_an_index_or_an_error(byte[] bytes) {
        Path directory = Path.of("model").toAbsolutePath();
        succeedsOrUserError(() -> {
            String text = Json.decodeUtf8(ByteBuffer.wrap(bytes), "index.json", Code.BAD_MODEL);
            for (String shard : ShardIndex.parse(text, "index.json").shards()) {
                if (!directory.equals(directory.resolve(shard).normalize().getParent())) {
                    throw new AssertionError("leads out of the directory: " + shard);
                }
            }
        });
    }
}
