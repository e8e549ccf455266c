package dev.optgptq.formats.safetensors;

import static dev.optgptq.formats.testing.Fuzzing.succeedsOrUserError;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.lang.foreign.MemorySegment;

class SafetensorsHeaderFuzzTest {

    /** Whatever is accepted lies inside the file and covers its data. */
    @FuzzTest(maxDuration = "1m")
    void any_bytes_are_a_file_or_an_error(byte[] bytes) {
        MemorySegment file = MemorySegment.ofArray(bytes);
        succeedsOrUserError(() -> {
            SafetensorsHeader header = SafetensorsHeader.parse(file, "fuzzed.safetensors");
            long covered = header.dataStart();
            for (SafetensorsHeader.Entry entry : header.tensors().values()) {
                covered += file.asSlice(header.dataStart() + entry.begin(), entry.end() - entry.begin()).byteSize();
            }
            if (covered != bytes.length) {
                throw new AssertionError("covered " + covered + " of " + bytes.length + " bytes");
            }
        });
    }
}
