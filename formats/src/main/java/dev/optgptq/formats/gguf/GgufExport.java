package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * A model directory as one GGUF file. Packed linears go over code for code: Q4_0 for symmetric grids of up to 4 bits, Q4_1
 * for asymmetric ones, Q8_0 for 8 bits. Other matrices become F16, vectors F32.
 */
public final class GgufExport {

    private static final int QUANTIZATION_VERSION = 2;
    private static final String HEAD = "output.weight";
    /** The rank of a tensor that holds a matrix for each expert. */
    private static final int EXPERTS = 3;

    private final ModelDirectory model;
    private final GgufFamily family;
    /** By the names of the file, in the order in which the model's files have them. */
    private final SequencedMap<String, List<Part>> parts = new LinkedHashMap<>();

    /**
     * A tensor of the file, or a member of one.
     *
     * @param member from 0; -1 for a whole tensor
     * @param module it comes from, for messages
     * @param tensor its type and dimensions, without the one that counts members
     */
    private record Part(int member, String module, GgufTensor tensor, GgufPieces.Source data) {}

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
        // In the order of the model's files, so that reading is one pass.
        SequencedMap<String, List<String>> modules = new LinkedHashMap<>();
        for (String name : model.tensors().keySet()) {
            int dot = name.lastIndexOf('.');
            if (dot < 0) {
                throw new UserError(Code.UNSUPPORTED_MODEL,
                        model.path() + ": expected tensors of modules, found '" + name
                                + "'; use the checkpoint as it is");
            }
            modules.computeIfAbsent(name.substring(0, dot), module -> new ArrayList<>()).add(name.substring(dot));
        }
        modules.forEach(this::plan);
        family.rotaryFactors().forEach((name, factors) -> add(-1, name,
                new GgufTensor(name, GgufType.F32, List.of((long) factors.length)),
                new GgufPieces.Whole(target -> target.copyFrom(MemorySegment.ofArray(factors)))));
        planHead();
    }

    private void add(int member, String module, GgufTensor tensor, GgufPieces.Source data) {
        parts.computeIfAbsent(tensor.name(), name -> new ArrayList<>()).add(new Part(member, module, tensor, data));
    }

    private void planHead() {
        if (parts.containsKey(HEAD)) {
            return;
        }
        if (!family.isTied()) {
            throw new UserError(Code.BAD_MODEL,
                    model.path() + ": expected an output head, because tie_word_embeddings is"
                            + " false, found none; fetch the model again");
        }
        List<Part> embedding = parts.getOrDefault("token_embd.weight", List.of());
        if (family.needsHead() && !embedding.isEmpty()) {
            Part table = embedding.getFirst();
            add(-1, table.module(), new GgufTensor(HEAD, table.tensor().type(), table.tensor().dimensions()),
                    table.data());
        }
    }

    private void plan(String module, List<String> suffixes) {
        List<String> others = new ArrayList<>();
        for (String suffix : suffixes) {
            List<GgufFamily.Place> places = family.parameters(module + suffix);
            places.forEach(place -> planParameter(place, model.tensor(module + suffix)));
            if (places.isEmpty()) {
                others.add(suffix);
            }
        }
        if (!others.isEmpty()) {
            planModule(module, others);
        }
    }

    private void planModule(String module, List<String> suffixes) {
        List<GgufFamily.Place> places = family.places(module);
        if (places.isEmpty()) {
            return;
        }
        Optional<PackedLinear> packed = model.packed(module);
        for (GgufFamily.Place place : places) {
            if (packed.isPresent()) {
                planPacked(module, place, packed.get());
            } else {
                planPlain(module, place, model.tensor(module + ".weight"));
            }
            if (suffixes.contains(".bias")) {
                TensorView bias = model.tensor(module + ".bias");
                planVector(place.member(), place.name() + ".bias", PlainRows.vector(bias,
                        family.rows(place, Math.toIntExact(bias.shape().elements())), 0));
            }
        }
    }

    /** A tensor that is no module's weight or bias: a vector. */
    private void planParameter(GgufFamily.Place place, TensorView view) {
        int elements = Math.toIntExact(view.shape().elements());
        planVector(place.member(), place.name(), PlainRows.vector(view, family.rows(place, elements), 0));
    }

    private void planVector(int member, String name, PlainRows vector) {
        add(member, vector.view().name(), new GgufTensor(name, GgufType.F32, List.of((long) vector.rows())),
                new GgufPieces.Whole(
                        target -> vector.view().reading(() -> vector.putFloats(0, vector.rows(), target))));
    }

    private void planPacked(String module, GgufFamily.Place place, PackedLinear linear) {
        QuantizationConfig quantization = model.quantization().orElseThrow();
        GgufType type = PackedBlocks.type(module, linear, quantization.forModule(module).symmetric());
        GgufRows.Rows rows = family.rows(place, linear.outputs());
        GgufTensor tensor = new GgufTensor(place.name() + ".weight", type,
                List.of((long) linear.inputs(), (long) rows.count()));
        TensorView codes = model.tensor(module + quantization.format().codes());
        add(place.member(), module, tensor, PackedBlocks.isOfWords(linear, type)
                ? (from, to, target) -> codes.reading(() -> PackedBlocks.putWords(linear, rows, from, to, target))
                : new GgufPieces.Whole(target -> codes.reading(() -> PackedBlocks.put(linear, type, rows, target))));
    }

    private void planPlain(String module, GgufFamily.Place place, TensorView view) {
        int rank = view.shape().rank();
        if (!view.dtype().isFloat() || rank < 1 || rank > EXPERTS) {
            throw new UserError(Code.UNSUPPORTED_MODEL, view.file() + ", tensor '" + view.name()
                    + "': expected a vector, a matrix or matrices of experts of floats, found " + view.dtype() + " "
                    + view.shape() + "; use the checkpoint as it is");
        }
        String name = place.name();
        if (rank == 1 || family.isVector(name)) {
            int elements = Math.toIntExact(view.shape().elements());
            planVector(place.member(), name + ".weight",
                    PlainRows.vector(view, new GgufRows.Rows(elements, GgufRows.SAME), family.added(name)));
            return;
        }
        int matrices = rank == EXPERTS ? Math.toIntExact(view.shape().dimension(0)) : 1;
        for (int matrix = 0; matrix < matrices; matrix++) {
            PlainRows plain = matrix(view, place, matrix);
            GgufType type = family.isFloat32(name) ? GgufType.F32 : GgufType.F16;
            add(rank == EXPERTS ? matrix : place.member(), module,
                    new GgufTensor(name + ".weight", type, List.of(plain.columns(), (long) plain.rows())),
                    plain.stored(type).<GgufPieces.Source>map(GgufPieces.Stored::new).orElse(
                            (from, to, target) -> view.reading(() -> plain.put(type, from, to, target))));
        }
    }

    /** One of the matrices that a tensor holds, [matrices, out, in], or the only one. */
    private PlainRows matrix(TensorView view, GgufFamily.Place place, int matrix) {
        int axis = view.shape().rank() - 2;
        boolean transposed = family.isTransposed(place.name());
        int outputs = Math.toIntExact(view.shape().dimension(transposed ? axis + 1 : axis));
        long columns = view.shape().dimension(transposed ? axis : axis + 1);
        GgufRows.Rows rows = family.rows(place, outputs);
        return new PlainRows(view, (long) matrix * outputs * columns, rows.order(), rows.count(), columns,
                transposed ? 1 : columns, transposed ? outputs : 1, 0);
    }

    /** A tensor of the file: that of its one part, or all its members one after another. */
    private GgufTensor tensor(String name, List<Part> its) {
        GgufTensor first = its.getFirst().tensor();
        if (its.getFirst().member() < 0 && its.size() == 1) {
            return first;
        }
        its.sort(Comparator.comparingInt(Part::member));
        for (int member = 0; member < its.size(); member++) {
            Part part = its.get(member);
            if (part.member() != member || !part.tensor().equals(first)) {
                throw new UserError(Code.UNSUPPORTED_MODEL, part.module() + ": expected " + first.type() + " "
                        + first.dimensions() + " as member " + member + " of " + name
                        + ", which is one tensor in GGUF, found " + part.tensor().type() + " "
                        + part.tensor().dimensions() + " as member " + part.member()
                        + "; quantize all experts of a layer alike");
            }
        }
        List<Long> dimensions = new ArrayList<>(first.dimensions());
        dimensions.add((long) its.size());
        return new GgufTensor(name, first.type(), dimensions);
    }

    private Summary write(Path target) {
        SequencedMap<String, GgufValue> all = new LinkedHashMap<>();
        List<GgufTensor> tensors = new ArrayList<>();
        parts.forEach((name, its) -> tensors.add(tensor(name, its)));
        all.put("general.architecture", new GgufValue.Text(family.architecture()));
        all.put("general.name",
                new GgufValue.Text(String.valueOf(model.path().toAbsolutePath().normalize().getFileName())));
        all.put("general.quantization_version", new GgufValue.U32(QUANTIZATION_VERSION));
        all.put("general.file_type", new GgufValue.U32(fileType(tensors)));
        all.putAll(family.metadata());
        all.putAll(GgufTokenizer.of(model.path(), family.vocabulary(), model.config().json()));
        try (GgufWriter writer = new GgufWriter(target, all, tensors); GgufPieces pieces = new GgufPieces(writer)) {
            parts.values().forEach(its -> its.forEach(part -> pieces.write(part.tensor(), part.data())));
            pieces.finish();
            writer.finish();
        }
        Map<GgufType, Integer> counts = new EnumMap<>(GgufType.class);
        tensors.forEach(tensor -> counts.merge(tensor.type(), 1, Integer::sum));
        return new Summary(family.architecture(), tensors.stream().mapToLong(GgufTensor::bytes).sum(), counts);
    }

    /** enum llama_ftype: what most of the matrices are. */
    private static int fileType(List<GgufTensor> tensors) {
        Map<GgufType, Long> bytes = new EnumMap<>(GgufType.class);
        tensors.stream().filter(tensor -> tensor.type().blockElements() > 1)
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
}
