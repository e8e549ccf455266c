package dev.optgptq.gptq.run.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.Packing;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import java.util.zip.CRC32C;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FingerprintTest {

    private static final long SEED = 20261124;

    /** Sizes of one piece and of many, the last of them not full; wide enough for pieces of the fewest rows. */
    @ParameterizedTest
    @CsvSource({"4, 32, 32, 1, 1", "3, 1184, 8192, 37, 0", "2, 96, 16384, 3, 1", "8, 544, 4128, 17, 1"})
    void pieces_give_what_the_whole_gives_packed_and_on_the_device(int bits, int inputs, int outputs, int groups,
            int zeroOffset) {
        try (Arena host = Arena.ofShared();
                Device device = Devices.open("cpu", 1);
                TensorArena arena = device.arena()) {
            SplittableRandom random = new SplittableRandom(SEED);
            MemorySegment codes = host.allocate((long) inputs * outputs);
            for (long i = 0; i < codes.byteSize(); i++) {
                codes.set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(1 << bits));
            }
            MemorySegment zeros = host.allocate(4L * groups * outputs, 4);
            for (long i = 0; i < (long) groups * outputs; i++) {
                zeros.setAtIndex(ValueLayout.JAVA_INT, i, random.nextInt(1 << bits));
            }
            MemorySegment scales = host.allocate(2L * groups * outputs).fill((byte) 3);
            MemorySegment gIdx = host.allocate(4L * inputs).fill((byte) 0);
            MemorySegment qweight = host.allocate((long) inputs * outputs * bits / 8, 4);
            Packing.packWeights(codes, bits, inputs, outputs, qweight);
            MemorySegment qzeros = host.allocate((long) groups * outputs * bits / 8, 4);
            Packing.packZeros(zeros, bits, groups, outputs, zeroOffset, qzeros);
            CRC32C whole = new CRC32C();
            for (MemorySegment part : new MemorySegment[] {codes, zeros, scales, gIdx}) {
                whole.update(part.asByteBuffer());
            }

            assertEquals(whole.getValue(), Fingerprint.of(
                    new PackedLinear(bits, inputs, outputs, groups, zeroOffset, qweight, qzeros, scales, gIdx)),
                    "packed, seed " + SEED);
            Tensor checksum = arena.vector(DType.I32, 1);
            device.quant().checksum(arena.load(codes, DType.U8, inputs, outputs), checksum);
            assertEquals(whole.getValue(),
                    Fingerprint.ofCodes(HostVectors.ints(device, checksum)[0]).add(zeros).add(scales).add(gIdx).value(),
                    "on the device, seed " + SEED);
        }
    }
}
