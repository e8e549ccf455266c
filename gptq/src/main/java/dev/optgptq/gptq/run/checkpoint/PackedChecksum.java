package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedPart;

/**
 * All that a packed linear says, in short: equal ones unpack to the same integers, and comparing them costs no unpacking.
 *
 * @param crc CRC-32C of its packed tensors, one after the other
 */
record PackedChecksum(int bits, int inputs, int outputs, int groups, int zeroOffset, long crc) {

    static PackedChecksum of(PackedLinear packed) {
        Fingerprint bytes = new Fingerprint();
        for (PackedPart part : PackedPart.values()) {
            bytes.add(packed.part(part));
        }
        return new PackedChecksum(packed.bits(), packed.inputs(), packed.outputs(), packed.groups(),
                packed.zeroOffset(), bytes.value());
    }
}
