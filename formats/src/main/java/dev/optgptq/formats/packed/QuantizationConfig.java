package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * The quantization_config of a GPTQ checkpoint.
 *
 * @param bits 2, 3, 4 or 8
 * @param groupSize inputs per scale; -1 for one group per output
 * @param symmetric whether every zero point is 2^(bits-1)
 * @param descAct whether g_idx may be non-sequential
 * @param format v1 or v2 zero points
 */
public record QuantizationConfig(int bits, int groupSize, boolean symmetric, boolean descAct, CheckpointFormat format) {

    /** The group size that stands for all inputs. */
    public static final int ONE_GROUP = -1;

    /** Throws UserError BAD_SETTING for values that no checkpoint can have. */
    public QuantizationConfig {
        requireBits(bits);
        requireGroupSize(groupSize);
        if (!symmetric && format == CheckpointFormat.GPTQ) {
            throw new UserError(Code.BAD_SETTING, "format: expected gptq_v2 with asymmetric quantization, found gptq;"
                    + " gptq stores zero points minus one, and a zero point of 0 would spill into its neighbour, so use"
                    + " gptq_v2 or symmetric quantization");
        }
    }

    /**
     * Reads and checks the block, also as other tools write it; {@code origin} names the file in messages. Throws
     * UserError BAD_MODEL or UNSUPPORTED_MODEL.
     */
    public static QuantizationConfig fromJson(JsonNode block, String origin) {
        return QuantizationConfigReader.read(block, origin);
    }

    /** Throws UserError UNSUPPORTED_MODEL where the block is of another method than GPTQ, BAD_MODEL where it is none. */
    public static void requireMethod(JsonNode block, String origin) {
        QuantizationConfigReader.requireMethod(block, origin);
    }

    /** The block with every key that vLLM, transformers and GPTQModel read. */
    public ObjectNode toJson(Provenance provenance) {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.put("quant_method", QuantizationConfigReader.METHOD);
        json.put("bits", bits);
        json.put("group_size", groupSize);
        json.put("sym", symmetric);
        json.put("desc_act", descAct);
        json.put("lm_head", false);
        // GPTQModel reads one name, transformers with optimum the other.
        json.put("checkpoint_format", format.label());
        json.put("format", format.label());
        json.put("pack_dtype", "int32");
        // transformers refuses a damp_percent outside (0, 1); round-to-nearest has none.
        if (provenance.damp() > 0 && provenance.damp() < 1) {
            json.put("damp_percent", provenance.damp());
        }
        json.put("true_sequential", provenance.trueSequential());
        json.put("static_groups", provenance.staticGroups());
        json.putObject("meta").putArray("quantizer").add(provenance.quantizer());
        return json;
    }

    static void requireBits(int bits) {
        if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
            throw new UserError(Code.BAD_SETTING, "bits: expected 2, 3, 4 or 8, found " + bits);
        }
    }

    static void requireGroupSize(int groupSize) {
        if (groupSize != ONE_GROUP && groupSize <= 0) {
            throw new UserError(Code.BAD_SETTING, "group size: expected a positive number, or -1 for one group per"
                    + " output, found " + groupSize);
        }
    }

    /**
     * Informational keys: who wrote the checkpoint and how.
     *
     * @param quantizer "name:version"
     * @param damp share of the Hessian's mean diagonal that was added to it; 0 where there was none
     * @param trueSequential whether inputs were recomputed inside a block
     * @param staticGroups whether groups were fixed before the columns were ordered
     */
    public record Provenance(String quantizer, double damp, boolean trueSequential, boolean staticGroups) {}
}
