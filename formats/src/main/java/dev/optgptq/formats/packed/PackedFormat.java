package dev.optgptq.formats.packed;

import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;

/**
 * How checkpoints of one format store packed linears. Everything here computes in GPTQ layout ({@link PackedLinear}); a format says
 * which tensors follow from it, and back. {@link #codes} and {@link #zeros} define the bytes; what is in {@link #tensors} is faster
 * and gives the same.
 */
public sealed interface PackedFormat permits GptqFormat, CompressedTensorsFormat, Int8Format, AwqFormat, MlxFormat,
        SlimQuantFormat {

    /** Of the names of a packed linear's tensors, after the module's; the first is that of the codes. */
    List<String> suffixes();

    /** What is stored of a zero point is that less; the GPTQ layout that tensors are made from has the same offset. */
    default int zeroOffset() {
        return 0;
    }

    /** Whether its config can give modules grids of their own. */
    boolean holdsModules();

    /** Throws UserError BAD_SETTING for a grid that the format cannot hold, with the nearest that it can. */
    void require(PackedGrid grid);

    /** Throws UserError BAD_SETTING for a grid that it holds, but that quantize cannot write in it, with the way round. */
    default void requireSolved(PackedGrid grid) {}

    /** What is stored of a linear, in the order it is written. */
    List<StoredTensor> tensors(PackedLayout linear, QuantizationConfig grid);

    /**
     * The bytes of one of them.
     *
     * @param linear with the format's zeroOffset
     * @param to all zero before
     */
    default void encode(StoredTensor tensor, PackedLinear linear, MemorySegment to) {
        tensor.encode().apply(linear.part(tensor.part()), to);
    }

    /** What a scale is of the stored one; a power of two. */
    default double scaleUnit(QuantizationConfig grid) {
        return 1;
    }

    /**
     * The sizes that a linear's stored tensors state. Throws UserError BAD_MODEL where they contradict each other,
     * UNSUPPORTED_MODEL for sizes that are not read.
     */
    PackedLayout layout(String module, Map<String, TensorView> tensors, QuantizationConfig grid);

    /** Where the code of [input, output] stands in the first of the tensors. */
    BitPlace codes(PackedLayout linear);

    /** Where the zero point of [group, output] stands in the tensor that holds them. */
    BitPlace zeros(PackedLayout linear);
}
