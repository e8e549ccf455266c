package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.List;
import java.util.Map;

/**
 * AutoAWQ's "gemm" layout (awq/modules/linear/gemm.py of casper-hansen/AutoAWQ): 4 bits, words along the outputs, in which 8 outputs
 * stand in the order 0 2 4 6 1 3 5 7. Zero points, packed likewise, are stored as they are.
 */
record AwqFormat() implements PackedFormat {

    static final int BITS = 4;
    private static final int PER_WORD = 8;
    /** Of each of a word's 8 outputs, which nibble it is. */
    private static final int[] NIBBLE_OF = {0, 4, 1, 5, 2, 6, 3, 7};

    @Override
    public List<String> suffixes() {
        return List.of(".qweight", ".qzeros", ".scales");
    }

    @Override
    public boolean holdsModules() {
        return false;
    }

    @Override
    public void require(PackedGrid grid) {
        if (grid.bits() != BITS || grid.descAct()) {
            throw new UserError(Code.BAD_SETTING,
                    "format awq: expected 4 bits and groups of inputs that follow each other,"
                            + " found " + grid + "; use --bits 4 and --act-order static or none, or --format gptq_v2");
        }
    }

    @Override
    public List<StoredTensor> tensors(PackedLayout linear, QuantizationConfig grid) {
        int inputs = linear.inputs();
        int outputs = linear.outputs();
        TensorSpec codes = new TensorSpec(linear.module() + ".qweight", DType.I32,
                Shape.of(inputs, outputs / PER_WORD));
        return List.of(new StoredTensor(codes, PackedPart.CODES,
                (from, to) -> Repacking.inputsToOutputs(from, inputs, outputs, NIBBLE_OF, to),
                (from, to) -> Repacking.outputsToInputs(from, inputs, outputs, NIBBLE_OF, to)),
                new StoredTensor(linear.qzeros(), PackedPart.ZEROS,
                        (from, to) -> Repacking.scatterNibbles(from, NIBBLE_OF, to),
                        (from, to) -> Repacking.gatherNibbles(from, NIBBLE_OF, to)),
                StoredTensor.same(linear.scales(), PackedPart.SCALES));
    }

    @Override
    public PackedLayout layout(String module, Map<String, TensorView> tensors, QuantizationConfig grid) {
        TensorView codes = LinearTensors.find(module + ".qweight", tensors);
        LinearTensors.requireRank(2, codes);
        return LinearTensors.layout(module, codes.shape().dimension(0), PER_WORD * codes.shape().dimension(1), grid);
    }

    @Override
    public BitPlace codes(PackedLayout linear) {
        return (input, output, k) -> place(input, output, linear.outputs()) + k;
    }

    @Override
    public BitPlace zeros(PackedLayout linear) {
        return (group, output, k) -> place(group, output, linear.outputs()) + k;
    }

    private static long place(int row, int output, int outputs) {
        long word = (long) row * (outputs / PER_WORD) + output / PER_WORD;
        return Integer.SIZE * word + (long) BITS * NIBBLE_OF[output % PER_WORD];
    }
}
