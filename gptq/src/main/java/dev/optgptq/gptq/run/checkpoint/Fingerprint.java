package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.Packing;
import dev.optgptq.kernels.ops.QuantOps;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.zip.CRC32C;

/**
 * Checks that integers are the solver's: CRC-32C of what is added, concatenated. For a linear these are the codes
 * U8 [in, out], the zeros I32 [groups, out], the scales F16 [groups, out] and g_idx I32 [in], as pack() adds them from
 * the device and {@link #of(PackedLinear)} from packed tensors, piece by piece.
 */
final class Fingerprint {

    /** Bytes unpacked at a time: few enough to stay in the cache between unpacking and adding. */
    private static final long PIECE_BYTES = 1 << 18;
    /** Rows of codes that fill whole words for any number of bits. */
    private static final int RUN = 32;

    /** Of what the device has seen, which comes first; 0 is that of nothing. */
    private final long first;
    private final CRC32C crc = new CRC32C();
    private long bytes;

    private Fingerprint(long first) {
        this.first = first;
    }

    Fingerprint() {
        this(0);
    }

    /** Begins with codes, of which the device has computed the checksum ({@link QuantOps#checksum}). */
    static Fingerprint ofCodes(int checksum) {
        return new Fingerprint(Integer.toUnsignedLong(checksum));
    }

    /** Of a packed linear, by the format's definition. Takes a few hundred kilobytes of memory for any size. */
    static long of(PackedLinear packed) {
        try (Arena host = Arena.ofConfined()) {
            return new Fingerprint().addCodes(packed, host).addZeros(packed, host).add(packed.scales())
                    .add(packed.gIdx()).value();
        }
    }

    /** Of bytes. */
    static long of(MemorySegment bytes) {
        return new Fingerprint().add(bytes).value();
    }

    Fingerprint add(MemorySegment added) {
        for (long at = 0; at < added.byteSize(); at += Integer.MAX_VALUE) {
            crc.update(added.asSlice(at, Math.min(Integer.MAX_VALUE, added.byteSize() - at)).asByteBuffer());
        }
        bytes += added.byteSize();
        return this;
    }

    private Fingerprint addCodes(PackedLinear packed, Arena host) {
        int outputs = packed.outputs();
        int rows = Math.clamp(PIECE_BYTES / outputs / RUN * RUN, RUN, packed.inputs());
        MemorySegment piece = host.allocate((long) rows * outputs, 64);
        long rowBytes = (long) outputs * packed.bits() / 8; // of one input, on the average of a run
        for (int row = 0; row < packed.inputs(); row += rows) {
            int count = Math.min(rows, packed.inputs() - row);
            MemorySegment codes = piece.asSlice(0, (long) count * outputs);
            Packing.unpackWeights(packed.qweight().asSlice(row * rowBytes, count * rowBytes), packed.bits(), count,
                    outputs, codes);
            add(codes);
        }
        return this;
    }

    private Fingerprint addZeros(PackedLinear packed, Arena host) {
        int outputs = packed.outputs();
        int groups = Math.clamp(PIECE_BYTES / Integer.BYTES / outputs, 1, packed.groups());
        MemorySegment piece = host.allocate((long) Integer.BYTES * groups * outputs, 64);
        long groupBytes = (long) outputs * packed.bits() / 8;
        for (int group = 0; group < packed.groups(); group += groups) {
            int count = Math.min(groups, packed.groups() - group);
            MemorySegment zeros = piece.asSlice(0, (long) Integer.BYTES * count * outputs);
            Packing.unpackZeros(packed.qzeros().asSlice(group * groupBytes, count * groupBytes), packed.bits(), count,
                    outputs, packed.zeroOffset(), zeros);
            add(zeros);
        }
        return this;
    }

    long value() {
        return JoinedChecksum.of(first, crc.getValue(), bytes);
    }
}
