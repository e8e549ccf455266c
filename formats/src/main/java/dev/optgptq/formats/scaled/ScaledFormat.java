package dev.optgptq.formats.scaled;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/** How a quantization_config says that weights are stored, where they are small floats with a scale for each block. */
public sealed interface ScaledFormat permits ScaledFormat.Fp8Blocks, ScaledFormat.Mxfp4 {

    /** F8_E4M3 "x.weight" with factors "x.weight_scale_inv". */
    record Fp8Blocks(int rows, int columns) implements ScaledFormat {

        private static final String SCALES = "_scale_inv";

        @Override
        public Optional<ScaledTensor> find(String name, Map<String, TensorView> tensors) {
            TensorView elements = tensors.get(name);
            if (elements == null || elements.dtype() != DType.F8_E4M3) {
                return Optional.empty();
            }
            TensorView scales = tensors.get(name + SCALES);
            if (scales == null) {
                throw new UserError(Code.BAD_MODEL, name + ": expected '" + name + SCALES + "' beside it, since it is "
                        + elements.dtype() + " in " + elements.file()
                        + ", found none; the download is incomplete or scaled in another way");
            }
            return Optional.of(new Fp8Tensor(elements, scales, rows, columns));
        }

        @Override
        public long parameters(TensorView view) {
            return view.name().endsWith(SCALES) ? 0 : view.shape().elements();
        }

        @Override
        public String label() {
            return "FP8, blocks of " + rows + " x " + columns;
        }
    }

    /** U8 "x_blocks" with "x_scales", in place of "x". */
    record Mxfp4() implements ScaledFormat {

        private static final String BLOCKS = "_blocks";
        private static final String SCALES = "_scales";

        @Override
        public Optional<ScaledTensor> find(String name, Map<String, TensorView> tensors) {
            TensorView blocks = tensors.get(name + BLOCKS);
            if (blocks == null) {
                return Optional.empty();
            }
            TensorView scales = tensors.get(name + SCALES);
            if (scales == null) {
                throw new UserError(Code.BAD_MODEL, name + BLOCKS + ": expected '" + name + SCALES
                        + "' beside it, found none in " + blocks.file() + "; the download is incomplete");
            }
            return Optional.of(new Mxfp4Tensor(blocks, scales));
        }

        @Override
        public long parameters(TensorView view) {
            if (view.dtype() != DType.U8) {
                return view.shape().elements();
            }
            return view.name().endsWith(SCALES) ? 0 : 2 * view.shape().elements();
        }

        @Override
        public String label() {
            return "MXFP4, blocks of " + Mxfp4Tensor.BLOCK;
        }
    }

    /** The weight of that name, where it is stored so; throws UserError BAD_MODEL where parts of it do not fit. */
    Optional<ScaledTensor> find(String name, Map<String, TensorView> tensors);

    /** How many weights a tensor of such a checkpoint holds; scales hold none. */
    long parameters(TensorView view);

    /** For people. */
    String label();

    /**
     * What a quantization_config says, if it is of one of these methods; throws UserError UNSUPPORTED_MODEL where it is, but
     * in a form that is not read.
     *
     * @param origin names its file in messages
     */
    static Optional<ScaledFormat> of(JsonNode block, String origin) {
        return switch (block.path("quant_method").asString("")) {
            case "mxfp4" -> Optional.of(new Mxfp4());
            case "fp8" -> Optional.of(fp8(block, origin));
            default -> Optional.empty();
        };
    }

    private static Fp8Blocks fp8(JsonNode block, String origin) {
        JsonNode fmt = block.path("fmt");
        if (!fmt.isMissingNode() && !fmt.isNull() && !fmt.asString("").equals("e4m3")) {
            throw unsupported(origin, "\"e4m3\" at 'fmt'", fmt);
        }
        JsonNode scheme = block.path("activation_scheme");
        if (!scheme.isMissingNode() && !scheme.isNull() && !scheme.asString("").equals("dynamic")) {
            throw unsupported(origin, "\"dynamic\" at 'activation_scheme'", scheme);
        }
        JsonNode size = block.path("weight_block_size");
        if (!size.isArray() || size.size() != 2 || !isSize(size.path(0)) || !isSize(size.path(1))) {
            throw unsupported(origin, "two positive numbers at 'weight_block_size' of quant_method fp8", size);
        }
        return new Fp8Blocks(size.path(0).intValue(), size.path(1).intValue());
    }

    private static boolean isSize(JsonNode node) {
        return node.isIntegralNumber() && node.canConvertToInt() && node.intValue() > 0;
    }

    private static UserError unsupported(String origin, String expected, JsonNode found) {
        return new UserError(Code.UNSUPPORTED_MODEL, origin + ": expected " + expected + ", found " + Json.kind(found)
                + "; FP8 is read with a scale for each block of weights, as DeepSeek-V3 and Qwen3 have it; start from the"
                + " model in bfloat16");
    }
}
