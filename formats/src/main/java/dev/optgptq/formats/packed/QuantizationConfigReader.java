package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.json.Json;
import tools.jackson.databind.JsonNode;

/** Reads the quantization_config of GPTQ checkpoints as AutoGPTQ, GPTQModel, optimum and we write it. */
final class QuantizationConfigReader {

    static final String METHOD = "gptq";

    private final JsonNode block;
    private final String origin;

    private QuantizationConfigReader(JsonNode block, String origin) {
        this.block = block;
        this.origin = origin;
    }

    static QuantizationConfig read(JsonNode block, String origin) {
        return of(block, origin).read();
    }

    static void requireMethod(JsonNode block, String origin) {
        of(block, origin).requireMethod();
    }

    private static QuantizationConfigReader of(JsonNode block, String origin) {
        if (!block.isObject()) {
            throw new UserError(Code.BAD_MODEL, origin + ": expected an object, found " + Json.kind(block)
                    + "; fetch the file again");
        }
        return new QuantizationConfigReader(block, origin);
    }

    private QuantizationConfig read() {
        requireMethod();
        requireUniform();
        int bits = requiredInt("bits");
        if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
            throw unsupported("bits", "2, 3, 4 or 8");
        }
        int groupSize = requiredInt("group_size");
        if (groupSize != QuantizationConfig.ONE_GROUP && groupSize <= 0) {
            throw wrong("group_size", "a positive number or -1");
        }
        CheckpointFormat format = format();
        boolean symmetric = flag("sym", true);
        if (!symmetric && format == CheckpointFormat.GPTQ) {
            throw new UserError(Code.UNSUPPORTED_MODEL, origin
                    + ": expected sym true or checkpoint_format gptq_v2, found"
                    + " sym false with gptq; such files store a zero point of 0 as a borrow from its neighbour and tools"
                    + " disagree how to undo it, convert the checkpoint to gptq_v2");
        }
        // Without the key g_idx counts, which is right for every file; AutoGPTQ's default is the same.
        return new QuantizationConfig(bits, groupSize, symmetric, flag("desc_act", true), format);
    }

    /** AutoGPTQ's quantize_config.json has no method at all: it knew only one. GPTQModel calls it "method" too. */
    private void requireMethod() {
        for (String key : new String[] {"quant_method", "method"}) {
            if (present(key) && !block.path(key).asString("").equalsIgnoreCase(METHOD)) {
                throw unsupported(key, "\"" + METHOD + "\", \"fp8\" or \"mxfp4\"");
            }
        }
        if (present("is_marlin_format") && flag("is_marlin_format", false)) {
            throw unsupported("is_marlin_format", "false");
        }
        if (present("pack_dtype") && !block.path("pack_dtype").asString("").equals("int32")) {
            throw unsupported("pack_dtype", "\"int32\"");
        }
    }

    /** "dynamic" rules that only exclude modules ("-:regex") need nothing: such modules have plain weights. */
    private void requireUniform() {
        JsonNode rules = block.path("dynamic");
        boolean onlyExclusions = rules.isObject() && rules.propertyNames().stream().allMatch(r -> r.startsWith("-:"));
        if (present("dynamic") && !onlyExclusions) {
            throw unsupported("dynamic", "no settings per module, or exclusions (\"-:\") only");
        }
    }

    private CheckpointFormat format() {
        CheckpointFormat format = CheckpointFormat.GPTQ;
        String decidedBy = null;
        for (String key : new String[] {"checkpoint_format", "format"}) {
            if (!present(key)) {
                continue;
            }
            CheckpointFormat found = CheckpointFormat.labelled(block.path(key).asString(""))
                    .orElseThrow(() -> unsupported(key, "\"gptq\" or \"gptq_v2\""));
            if (decidedBy != null && found != format) {
                throw wrong(key, "the value at '" + decidedBy + "', \"" + format.label() + "\"");
            }
            format = found;
            decidedBy = key;
        }
        return format;
    }

    private int requiredInt(String key) {
        JsonNode value = block.path(key);
        if (!value.isIntegralNumber() || !value.canConvertToInt()) {
            throw wrong(key, "a whole number");
        }
        return value.intValue();
    }

    private boolean flag(String key, boolean absent) {
        if (!present(key)) {
            return absent;
        }
        if (!block.path(key).isBoolean()) {
            throw wrong(key, "true or false");
        }
        return block.path(key).booleanValue();
    }

    private boolean present(String key) {
        return !block.path(key).isMissingNode() && !block.path(key).isNull();
    }

    private UserError wrong(String key, String expected) {
        return new UserError(Code.BAD_MODEL, message(key, expected) + "; correct the file or fetch it again");
    }

    private UserError unsupported(String key, String expected) {
        return new UserError(Code.UNSUPPORTED_MODEL, message(key, expected)
                + "; checkpoints of that kind are not read, start from the unquantized model");
    }

    private String message(String key, String expected) {
        return origin + ": expected " + expected + " at '" + key + "', found " + Json.kind(block.path(key));
    }
}
