package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * Finds the tensors of a packed linear, whatever the format, and checks that they agree with each other and with the
 * quantization_config, so that whoever computes with them can follow every index.
 */
public final class PackedLinearReader {

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private static final String WEIGHT = ".weight";

    private PackedLinearReader() {}

    /** What is done with the tensors that hold codes. */
    private enum Codes {
        DECODED, LEFT
    }

    /**
     * A linear in GPTQ layout: the stored bytes where they are that, else decoded into memory of its own.
     *
     * @param module name without suffix; the tensor of its codes is there
     * @throws UserError BAD_MODEL naming the tensor that is missing or contradicts the rest; UNSUPPORTED_MODEL for sizes or
     *     dtypes that are not read; NUMERIC for a scale that is NaN or infinite
     */
    public static PackedLinear read(String module, Map<String, TensorView> tensors, QuantizationConfig quantization) {
        return read(module, tensors, quantization.forModule(module), Codes.DECODED);
    }

    /** Checks a linear as read() does, without decoding its codes; its sizes. */
    public static PackedLayout check(String module, Map<String, TensorView> tensors, QuantizationConfig quantization) {
        QuantizationConfig grid = quantization.forModule(module);
        read(module, tensors, grid, Codes.LEFT);
        return grid.format().packing().layout(module, tensors, grid);
    }

    private static PackedLinear read(String module, Map<String, TensorView> tensors, QuantizationConfig grid,
            Codes codes) {
        if (!grid.format().codes().equals(WEIGHT)) {
            refusePlain(module, tensors);
        }
        PackedFormat format = grid.format().packing();
        return switch (format) {
            case GptqFormat _ -> GptqLinearReader.read(module, tensors, grid);
            case MlxFormat mlx -> mlx(mlx, module, tensors, grid, codes);
            case CompressedTensorsFormat _,AwqFormat _,Int8Format _,SlimQuantFormat _ ->
                decode(format, module, tensors, grid, codes);
        };
    }

    private static PackedLinear mlx(MlxFormat format, String module, Map<String, TensorView> tensors,
            QuantizationConfig grid, Codes codes) {
        MlxLinearReader reader = MlxLinearReader.of(module, tensors, grid);
        StoredTensor stored = format.tensors(reader.layout(), grid).getFirst();
        return reader.withCodes(codes == Codes.LEFT
                ? MemorySegment.NULL
                : decode(stored, LinearTensors.find(stored.spec().name(), tensors), reader.layout(), 1));
    }

    private static void refusePlain(String module, Map<String, TensorView> tensors) {
        if (tensors.containsKey(module + WEIGHT)) {
            throw LinearTensors.bad(LinearTensors.find(module + WEIGHT, tensors),
                    "expected either a plain weight or packed tensors, found both");
        }
    }

    private static PackedLinear decode(PackedFormat format, String module, Map<String, TensorView> tensors,
            QuantizationConfig grid, Codes codes) {
        PackedLayout layout = format.layout(module, tensors, grid);
        List<StoredTensor> stored = format.tensors(layout, grid);
        refuseIdle(format, module, tensors, stored);
        Map<PackedPart, MemorySegment> parts = new EnumMap<>(PackedPart.class);
        for (StoredTensor tensor : stored) {
            TensorView view = tensor.part() == PackedPart.SCALES
                    ? LinearTensors.scales(tensor.spec(), tensors)
                    : LinearTensors.find(tensor.spec().name(), tensors);
            if (tensor.part() != PackedPart.SCALES) {
                LinearTensors.require(tensor.spec(), view);
            }
            if (tensor.isDecoded() && (tensor.part() != PackedPart.CODES || codes == Codes.DECODED)) {
                parts.put(tensor.part(), decode(tensor, view, layout, format.scaleUnit(grid)));
            }
            if (tensor.part() == PackedPart.GROUPS) {
                GptqLinearReader.checkGroups(view.data(), layout, grid, view);
            }
        }
        return new PackedLinear(layout.bits(), layout.inputs(), layout.outputs(), layout.groups(), format.zeroOffset(),
                parts.getOrDefault(PackedPart.CODES, MemorySegment.NULL),
                parts.computeIfAbsent(PackedPart.ZEROS, part -> symmetricZeros(layout)),
                Objects.requireNonNull(parts.get(PackedPart.SCALES)),
                parts.computeIfAbsent(PackedPart.GROUPS,
                        part -> GptqLinearReader.sequential(layout.inputs(), layout.groups())));
    }

    /**
     * A tensor that the config says there is none of. Early compressed-tensors stored the zero points of symmetric grids too, all 0;
     * anything else would change the weights.
     */
    private static void refuseIdle(PackedFormat format, String module, Map<String, TensorView> tensors,
            List<StoredTensor> stored) {
        for (String suffix : format.suffixes()) {
            TensorView view = tensors.get(module + suffix);
            if (view != null && stored.stream().noneMatch(tensor -> tensor.spec().name().equals(view.name()))
                    && view.data()
                            .mismatch(MemorySegment.ofArray(new byte[Math.toIntExact(view.data().byteSize())])) >= 0) {
                throw LinearTensors.bad(view,
                        "expected no such tensor, or zeros, by its quantization_config, found others");
            }
        }
    }

    private static MemorySegment decode(StoredTensor tensor, TensorView view, PackedLayout layout, double scaleUnit) {
        // GPTQ's scales have groups first, and formats that store others have outputs first.
        int outputAxis = tensor.isSame() ? 1 : 0;
        MemorySegment bytes = tensor.part() == PackedPart.SCALES
                ? ScaleReader.read(view, outputAxis, scaleUnit)
                : view.data();
        if (tensor.isSame()) {
            return bytes;
        }
        MemorySegment decoded = Arena.ofAuto().allocate(layout.tensor(tensor.part()).bytes(), Long.BYTES);
        view.reading(() -> tensor.decode().apply(bytes, decoded));
        return decoded;
    }

    /** Of a format that does not store the zero points of symmetric grids. */
    private static MemorySegment symmetricZeros(PackedLayout layout) {
        MemorySegment zeros = Arena.ofAuto().allocate(layout.qzeros().bytes(), Long.BYTES);
        int[] words = Packing.symmetricZeroWords(layout.bits(), 0);
        for (long i = 0; i < zeros.byteSize() / Integer.BYTES; i++) {
            zeros.set(INT, i * Integer.BYTES, words[(int) (i % words.length)]);
        }
        return zeros;
    }
}
