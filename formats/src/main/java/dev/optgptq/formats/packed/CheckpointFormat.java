package dev.optgptq.formats.packed;

import dev.optgptq.formats.safetensors.TensorView;
import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.node.ObjectNode;

/** The formats of quantized checkpoints that are written and read. */
public enum CheckpointFormat {
    /** Zero points are stored minus one. Symmetric only: every runtime reads it. */
    GPTQ("gptq"),
    /** Zero points are stored as they are; needed for asymmetric grids. */
    GPTQ_V2("gptq_v2"),
    /** pack-quantized: symmetric or not, any bits. */
    COMPRESSED_TENSORS("compressed-tensors"),
    /** 4 bits with zero points. */
    AWQ("awq"),
    /** compressed-tensors, int-quantized: bytes, and activations in 8 bits. */
    W8A8("w8a8"),
    /** MLX's affine quantization: any bits, groups of neighbours. */
    MLX("mlx"),
    /** SlimQuant W4A8: experts in 4 bits, other linears in 8, and activations in 8 bits. */
    SLIMQUANT("slimquant");

    private final String label;

    CheckpointFormat(String label) {
        this.label = label;
    }

    /** Whether a tensor of that name is part of a packed linear of some format, and of nothing else. */
    public static boolean isPart(String tensor) {
        return tensor.endsWith(PackedPart.CODES.suffix()) || tensor.endsWith(CompressedTensorsFormat.CODES)
                || tensor.endsWith(Int8Format.MARK) || tensor.endsWith(MlxFormat.BIASES);
    }

    /** As the command line writes it; of the GPTQ ones also the value of checkpoint_format in config.json. */
    public String label() {
        return label;
    }

    @Override
    public String toString() {
        return label;
    }

    /** How its tensors lie. */
    public PackedFormat packing() {
        return switch (this) {
            case GPTQ -> new GptqFormat(1);
            case GPTQ_V2 -> new GptqFormat(0);
            case COMPRESSED_TENSORS -> new CompressedTensorsFormat();
            case AWQ -> new AwqFormat();
            case W8A8 -> new Int8Format();
            case MLX -> new MlxFormat();
            case SLIMQUANT -> new SlimQuantFormat();
        };
    }

    /** What config.json says. */
    ConfigBlock block() {
        return switch (this) {
            case GPTQ, GPTQ_V2 -> new GptqConfig();
            case COMPRESSED_TENSORS, W8A8 -> new CompressedTensorsConfig();
            case AWQ -> new AwqConfig();
            case MLX -> new MlxConfig();
            case SLIMQUANT -> new SlimQuantConfig();
        };
    }

    /** Puts what QuantizationConfig's toJson() gives into a config.json, in place of what another format has there. */
    public void put(ObjectNode block, ObjectNode config) {
        config.remove(MlxConfig.KEY);
        config.set("quantization_config", block);
        if (this == MLX) {
            config.set(MlxConfig.KEY, block);
        }
    }

    /** The framework that safetensors files name as the one that they are for; transformers refuses files that name none. */
    public String framework() {
        return this == MLX ? "mlx" : "pt";
    }

    /** Whether runtimes round activations to 8 bits, token by token, before they multiply by its weights. */
    public boolean roundsActivations() {
        return this == W8A8 || this == SLIMQUANT;
    }

    /** Whether its quantization_config stands in a file of its own too, as GPTQ tools write it. */
    public boolean copiesConfig() {
        return packing() instanceof GptqFormat;
    }

    /** Of the name of the tensor with a module's codes, after the module's. */
    public String codes() {
        return packing().suffixes().getFirst();
    }

    /** Whether a module is stored in it. */
    public boolean holds(String module, Map<String, TensorView> tensors) {
        TensorView codes = tensors.get(module + codes());
        return codes != null && isOfCodes(codes);
    }

    /** The module whose codes a tensor holds in this format; empty where it holds something else. */
    public Optional<String> module(TensorView tensor) {
        return tensor.name().endsWith(codes()) && isOfCodes(tensor)
                ? Optional.of(tensor.name().substring(0, tensor.name().length() - codes().length()))
                : Optional.empty();
    }

    /** Bytes that are called a weight are told from weights by their dtype. */
    private static boolean isOfCodes(TensorView tensor) {
        return !tensor.dtype().isFloat();
    }
}
