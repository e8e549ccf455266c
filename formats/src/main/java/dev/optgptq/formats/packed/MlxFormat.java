package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * MLX's affine quantization (mlx/backend/cpu/quantized.cpp of ml-explore/mlx, extract_bits; mlx_lm/utils.py of ml-explore/mlx-lm):
 * outputs first, a dense stream of bits along the inputs, also at 3 bits. A weight is scale * code + bias, and a bias takes the place of
 * a zero point: see {@link MlxBiases}.
 */
record MlxFormat() implements PackedFormat {

    static final String CODES = ".weight";
    static final String SCALES = ".scales";
    static final String BIASES = ".biases";
    /** Inputs of a group that MLX has kernels for. */
    static final Set<Integer> GROUP_SIZES = Set.of(32, 64, 128);
    private static final int WORD_BITS = 32;

    @Override
    public List<String> suffixes() {
        return List.of(CODES, SCALES, BIASES);
    }

    @Override
    public boolean holdsModules() {
        return true;
    }

    @Override
    public void require(PackedGrid grid) {
        if (grid.descAct() || !GROUP_SIZES.contains(grid.groupSize())) {
            throw new UserError(Code.BAD_SETTING,
                    "format mlx: expected groups of 32, 64 or 128 inputs that follow each other, found " + grid
                            + "; use --group-size 64 and --act-order static or none, or --format compressed-tensors");
        }
    }

    /** Its biases would follow from zero points too, which are packed apart from scales. */
    @Override
    public void requireSolved(PackedGrid grid) {
        if (!grid.symmetric()) {
            throw new UserError(Code.BAD_SETTING, "--format mlx: expected symmetric grids, whose biases follow from"
                    + " scales alone, found asymmetric ones; leave --no-symmetric and sym:false out, or quantize with"
                    + " --format gptq_v2 and export mlx, which rounds biases");
        }
    }

    @Override
    public List<StoredTensor> tensors(PackedLayout linear, QuantizationConfig grid) {
        int outputs = linear.outputs();
        int groups = linear.groups();
        int words = Packing.words(linear.bits(), linear.inputs());
        TensorSpec codes = spec(linear, CODES, DType.U32, words);
        TensorSpec scales = spec(linear, SCALES, DType.F16, groups);
        TensorSpec biases = spec(linear, BIASES, DType.F16, groups);
        return List.of(new StoredTensor(codes, PackedPart.CODES,
                (from, to) -> Repacking.transposeWords(from, words, outputs, 0, to),
                (from, to) -> Repacking.transposeWords(from, outputs, words, 0, to)),
                new StoredTensor(scales, PackedPart.SCALES,
                        (from, to) -> Repacking.transposeHalves(from, groups, outputs, to),
                        (from, to) -> Repacking.transposeHalves(from, outputs, groups, to)),
                StoredTensor.repeated(biases, PackedPart.SCALES, (from, to) -> {
                    if (!grid.symmetric()) {
                        throw new IllegalStateException(biases.name() + " follow from zero points too");
                    }
                    MlxBiases.ofSymmetric(biases.name(), linear, from, to);
                }));
    }

    /** [out, columns] */
    private static TensorSpec spec(PackedLayout linear, String suffix, DType dtype, int columns) {
        return new TensorSpec(linear.module() + suffix, dtype, Shape.of(linear.outputs(), columns));
    }

    @Override
    public void encode(StoredTensor tensor, PackedLinear linear, MemorySegment to) {
        if (tensor.spec().name().endsWith(BIASES)) {
            MlxBiases.of(tensor.spec().name(), linear, to);
        } else {
            PackedFormat.super.encode(tensor, linear, to);
        }
    }

    @Override
    public PackedLayout layout(String module, Map<String, TensorView> tensors, QuantizationConfig grid) {
        TensorView codes = LinearTensors.find(module + CODES, tensors);
        LinearTensors.requireRank(2, codes);
        return LinearTensors.layout(module, codes.shape().dimension(1) * WORD_BITS / grid.bits(),
                codes.shape().dimension(0), grid);
    }

    @Override
    public BitPlace codes(PackedLayout linear) {
        return (input, output, k) -> ((long) output * linear.inputs() + input) * linear.bits() + k;
    }

    @Override
    public BitPlace zeros(PackedLayout linear) {
        throw new IllegalStateException("mlx checkpoints have biases in place of zero points");
    }
}
