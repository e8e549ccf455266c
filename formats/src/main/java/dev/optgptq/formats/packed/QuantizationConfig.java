package dev.optgptq.formats.packed;

import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * The quantization_config of a GPTQ checkpoint.
 *
 * @param bits 2, 3, 4 or 8
 * @param groupSize inputs per scale; -1 for one group per row
 * @param symmetric whether every zero point is 2^(bits-1)
 * @param descAct whether g_idx may be non-sequential
 * @param format v1 or v2 zero points
 */
public record QuantizationConfig(int bits, int groupSize, boolean symmetric, boolean descAct, CheckpointFormat format) {

    /** Reads and checks the block; {@code origin} names the file in messages. */
    public static QuantizationConfig fromJson(JsonNode block, String origin) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** The block with every key that vLLM, transformers and GPTQModel read (notes/formats.md 1.8). */
    public ObjectNode toJson(Provenance provenance) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Informational keys: who wrote the checkpoint and how. */
    public record Provenance(String quantizer, double damp, boolean trueSequential, boolean staticGroups) {}
}
