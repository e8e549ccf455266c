package dev.optgptq.formats.gguf;

import dev.optgptq.formats.dtype.StoredFloats;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.function.IntToLongFunction;
import java.util.function.IntUnaryOperator;

/**
 * A model directory as one GGUF file. Packed linears go over code for code: Q4_0 for symmetric grids of up to 4 bits, Q4_1
 * for asymmetric ones, Q8_0 for 8 bits. Other matrices become F16, vectors F32.
 */
public final class GgufExport {

    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int QUANTIZATION_VERSION = 2;

    private final ModelDirectory model;
    private final GgufFamily family;
    private final SequencedMap<String, GgufValue> metadata;
    private final List<Item> items = new ArrayList<>();

    /** A tensor of the file, and what writes its data. */
    private record Item(GgufTensor tensor, DataSource data) {}

    private interface DataSource {
        void writeTo(MemorySegment target);
    }

    /**
     * The written file.
     *
     * @param architecture in the words of llama.cpp
     * @param bytes of the tensors
     * @param tensors how many there are of each type
     */
    public record Summary(String architecture, long bytes, Map<GgufType, Integer> tensors) {}

    private GgufExport(ModelDirectory model) {
        this.model = model;
        this.family = GgufFamily.of(model.config());
        this.metadata = family.metadata();
    }

    /**
     * Writes the file; an existing one is replaced when it is complete. Throws UserError: UNSUPPORTED_MODEL for what
     * GGUF cannot represent, BAD_MODEL for a model whose parts contradict each other, OUTPUT when it cannot be written.
     *
     * @param target its directory exists
     */
    public static Summary write(ModelDirectory model, Path target) {
        GgufExport export = new GgufExport(model);
        export.plan();
        return export.write(target);
    }

    private void plan() {
        Map<String, List<String>> modules = new TreeMap<>();
        for (String name : model.tensors().keySet()) {
            int dot = name.lastIndexOf('.');
            if (dot < 0) {
                throw new UserError(Code.UNSUPPORTED_MODEL,
                        model.path() + ": expected tensors of modules, found '" + name
                                + "'; use the checkpoint as it is");
            }
            modules.computeIfAbsent(name.substring(0, dot), module -> new ArrayList<>()).add(name.substring(dot));
        }
        // In the order of the model's files, so that reading is one pass.
        model.tensors().keySet().stream().map(name -> name.substring(0, name.lastIndexOf('.'))).distinct()
                .forEach(module -> plan(module, modules.getOrDefault(module, List.of())));
        family.rotaryFactors(metadata).ifPresent(factors -> items.add(new Item(GgufTensor.vector("rope_freqs.weight",
                factors.length), target -> target.copyFrom(MemorySegment.ofArray(factors)))));
        requireHead();
    }

    private void requireHead() {
        boolean head = items.stream().anyMatch(item -> item.tensor.name().equals("output.weight"));
        if (!head && !family.isTied()) {
            throw new UserError(Code.BAD_MODEL,
                    model.path() + ": expected an output head, because tie_word_embeddings is"
                            + " false, found none; fetch the model again");
        }
    }

    private void plan(String module, List<String> suffixes) {
        Optional<String> name = family.tensor(module);
        if (name.isEmpty()) {
            return;
        }
        Optional<PackedLinear> packed = model.packed(module);
        if (packed.isPresent()) {
            planPacked(module, name.get(), packed.get());
        } else {
            planPlain(model.tensor(module + ".weight"), name.get());
        }
        if (suffixes.contains(".bias")) {
            TensorView bias = model.tensor(module + ".bias");
            GgufTensor tensor = GgufTensor.vector(name.get() + ".bias", bias.shape().elements());
            IntUnaryOperator order = order(name.get(), (int) bias.shape().elements());
            items.add(new Item(tensor, target -> bias.reading(() -> putFloats(bias, order, 1, target))));
        }
    }

    private void planPacked(String module, String name, PackedLinear linear) {
        QuantizationConfig quantization = model.quantization().orElseThrow();
        boolean symmetric = quantization.forModule(module).symmetric();
        GgufType type = PackedBlocks.type(module, linear, symmetric);
        IntUnaryOperator order = order(name, linear.outputs());
        items.add(new Item(new GgufTensor(name + ".weight", type, linear.outputs(), linear.inputs()),
                target -> model.tensor(module + quantization.format().codes())
                        .reading(() -> PackedBlocks.put(linear, type, order, target))));
    }

    private void planPlain(TensorView view, String name) {
        if (!view.dtype().isFloat() || view.shape().rank() < 1 || view.shape().rank() > 2) {
            throw new UserError(Code.UNSUPPORTED_MODEL, view.file() + ", tensor '" + view.name()
                    + "': expected a vector or matrix of floats, found " + view.dtype() + " " + view.shape()
                    + "; use the checkpoint as it is");
        }
        if (view.shape().rank() == 1) {
            GgufTensor tensor = GgufTensor.vector(name + ".weight", view.shape().dimension(0));
            items.add(new Item(tensor, target -> view.reading(() -> putFloats(view, row -> row, 1, target))));
            return;
        }
        boolean transposed = family.isTransposed(name);
        long rows = view.shape().dimension(transposed ? 1 : 0);
        long columns = view.shape().dimension(transposed ? 0 : 1);
        IntUnaryOperator order = order(name, (int) rows);
        long rowStep = transposed ? 1 : columns;
        long columnStep = transposed ? rows : 1;
        items.add(new Item(new GgufTensor(name + ".weight", GgufType.F16, rows, columns),
                target -> view.reading(() -> putHalves(view, row -> order.applyAsInt(row) * rowStep, columnStep, rows,
                        columns, target))));
    }

    /**
     * Row r of the file is this row of the checkpoint. Queries, keys and values that a checkpoint has head by head are three blocks in
     * GGUF. Rotary pairs are neighbours in GGUF's llama, and half a head apart in
     * a checkpoint (convert_hf_to_gguf.py, permute).
     */
    private IntUnaryOperator order(String name, int rows) {
        int fused = family.headsOfFused(name, metadata);
        if (fused > 0) {
            int part = rows / 3;
            int width = part / fused;
            return row -> row % part / width * 3 * width + row / part * width + row % width;
        }
        int heads = family.interleavedHeads(name, metadata);
        if (heads == 0) {
            return row -> row;
        }
        int headDim = rows / heads;
        return row -> {
            int inHead = row % headDim;
            return row - inHead + inHead % 2 * (headDim / 2) + inHead / 2;
        };
    }

    private Summary write(Path target) {
        SequencedMap<String, GgufValue> all = new LinkedHashMap<>();
        all.put("general.architecture", new GgufValue.Text(family.architecture()));
        all.put("general.name",
                new GgufValue.Text(String.valueOf(model.path().toAbsolutePath().normalize().getFileName())));
        all.put("general.quantization_version", new GgufValue.U32(QUANTIZATION_VERSION));
        all.put("general.file_type", new GgufValue.U32(fileType()));
        all.putAll(metadata);
        all.putAll(GgufTokenizer.of(model.path(), family.vocabulary(), model.config().json()));
        List<GgufTensor> tensors = items.stream().map(Item::tensor).toList();
        try (GgufWriter writer = new GgufWriter(target, all, tensors)) {
            for (Item item : items) {
                try (Arena arena = Arena.ofShared()) {
                    MemorySegment data = arena.allocate(item.tensor.bytes(), Long.BYTES);
                    item.data.writeTo(data);
                    writer.write(item.tensor, data);
                }
            }
            writer.finish();
        }
        Map<GgufType, Integer> counts = new EnumMap<>(GgufType.class);
        tensors.forEach(tensor -> counts.merge(tensor.type(), 1, Integer::sum));
        return new Summary(family.architecture(), tensors.stream().mapToLong(GgufTensor::bytes).sum(), counts);
    }

    /** enum llama_ftype: what most of the matrices are. */
    private int fileType() {
        Map<GgufType, Long> bytes = new EnumMap<>(GgufType.class);
        items.stream().map(Item::tensor).filter(tensor -> tensor.type().blockElements() > 1)
                .forEach(tensor -> bytes.merge(tensor.type(), tensor.bytes(), Long::sum));
        if (bytes.isEmpty()) {
            return 1;
        }
        return switch (bytes.entrySet().stream().max(Map.Entry.comparingByValue()).orElseThrow().getKey()) {
            case Q4_0 -> 2;
            case Q4_1 -> 3;
            case Q8_0 -> 7;
            case F16 -> 1;
            case F32 -> 0;
        };
    }

    private static void putFloats(TensorView view, IntUnaryOperator order, long columns, MemorySegment target) {
        long rows = view.shape().elements() / columns;
        for (int row = 0; row < rows; row++) {
            for (long column = 0; column < columns; column++) {
                target.set(FLOAT, 4 * (row * columns + column),
                        (float) value(view, order.applyAsInt(row) * columns + column));
            }
        }
    }

    /** Rounded to float16, which is what most of llama.cpp's devices compute in; a value beyond it is refused. */
    private static void putHalves(TensorView view, IntToLongFunction firstOf, long columnStep, long rows, long columns,
            MemorySegment target) {
        for (int row = 0; row < rows; row++) {
            long from = firstOf.applyAsLong(row);
            for (long column = 0; column < columns; column++) {
                double value = value(view, from + column * columnStep);
                short half = Floats.toF16((float) value);
                if (Float.isInfinite(Floats.fromF16(half)) && Double.isFinite(value)) {
                    throw new UserError(Code.NUMERIC, view.file() + ", tensor '" + view.name()
                            + "': expected values that float16 holds, up to 65504, found " + value
                            + "; this model cannot be exported to F16");
                }
                target.set(SHORT, 2 * (row * columns + column), half);
            }
        }
    }

    private static double value(TensorView view, long index) {
        return StoredFloats.get(view.data(), view.dtype(), index);
    }
}
