package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.BlockSpec.Parameter;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * The weights of one decoder block on the device: norms, biases and other parameters F32, linears in the matmul dtype. They
 * can be overwritten; the arena given at loading owns them. As gradients it holds the requested kinds. Where experts are streamed
 * the device holds the linears of one of them at a time, and a weight is valid until that of another expert is asked for.
 */
public final class BlockWeights {

    private final BlockSpec spec;
    private final Set<ParameterKind> kinds;
    private final Map<NormSlot, NormWeights> norms;
    private final Map<String, LinearWeights> linears;
    private final Map<Parameter, Tensor> parameters;
    private final @Nullable ExpertWeights experts;

    private BlockWeights(BlockSpec spec, Set<ParameterKind> kinds, Map<NormSlot, NormWeights> norms,
            Map<String, LinearWeights> linears, Map<Parameter, Tensor> parameters, @Nullable ExpertWeights experts) {
        this.spec = spec;
        this.kinds = Set.copyOf(kinds);
        this.norms = norms;
        this.linears = linears;
        this.parameters = parameters;
        this.experts = experts;
    }

    /** Loads them, decoded; names any tensor with NaN or infinity in it. */
    public static BlockWeights load(BlockSpec spec, WeightLoader loader, TensorArena arena) {
        return load(spec, spec.linears(), null, loader, arena);
    }

    /** The same, with experts streamed where the block has any. */
    public static BlockWeights stream(BlockSpec spec, WeightLoader loader, TensorArena arena) {
        List<LinearSpec> resident = resident(spec);
        ExpertWeights experts = resident.size() == spec.linears().size()
                ? null
                : new ExpertWeights(spec, loader, arena);
        return load(spec, resident, experts, loader, arena);
    }

    private static List<LinearSpec> resident(BlockSpec spec) {
        return spec.linears().stream().filter(linear -> linear.expert() == LinearSpec.NO_EXPERT).toList();
    }

    private static BlockWeights load(BlockSpec spec, List<LinearSpec> resident, @Nullable ExpertWeights experts,
            WeightLoader loader, TensorArena arena) {
        Map<String, LinearWeights> linears = new HashMap<>();
        resident.forEach(linear -> linears.put(linear.role(), loader.linear(linear, arena)));
        Map<NormSlot, NormWeights> norms = new EnumMap<>(NormSlot.class);
        spec.norms().forEach((slot, norm) -> norms.put(slot, loader.norm(norm, arena)));
        Map<Parameter, Tensor> parameters = new EnumMap<>(Parameter.class);
        spec.parameters().forEach((which, parameter) -> parameters.put(which, loader.parameter(parameter, arena)));
        return new BlockWeights(spec, Set.of(ParameterKind.values()), norms, linears, parameters, experts);
    }

    /** Device memory after load(); packed linears temporarily take one more copy. */
    public static long bytes(BlockSpec spec, DType matmul) {
        return bytes(spec, spec.linears(), matmul);
    }

    /** Device memory after stream(); each linear of an expert temporarily takes more, as in load(). */
    public static long streamedBytes(BlockSpec spec, DType matmul) {
        return bytes(spec, spec.linears().stream().filter(linear -> linear.expert() <= 0).toList(), matmul);
    }

    private static long bytes(BlockSpec spec, List<LinearSpec> linears, DType matmul) {
        long norms = spec.norms().values().stream().mapToLong(NormWeights::bytes).sum();
        long biases = linears.stream().mapToLong(linear -> linear.bias() ? linear.outputs() : 0).sum();
        long others = spec.parameters().values().stream()
                .mapToLong(parameter -> (long) parameter.rows() * parameter.columns()).sum();
        long weights = linears.stream().mapToLong(linear -> (long) linear.outputs() * linear.inputs()).sum();
        return norms + Float.BYTES * (biases + others) + matmul.bytes() * weights;
    }

    public BlockSpec spec() {
        return spec;
    }

    public int index() {
        return spec.index();
    }

    /** The linears in forward order. */
    public List<LinearSpec> linears() {
        return spec.linears();
    }

    /** Those that read the site, in forward order. */
    public List<LinearSpec> linears(InputSite site) {
        return linears().stream().filter(linear -> linear.site().equals(site)).toList();
    }

    /** [outputs, inputs] in the matmul dtype; writing to it changes what the block computes. */
    public Tensor weight(LinearSpec linear) {
        return of(linear).weight();
    }

    /** Whether it is of an expert and loaded anew each time. */
    public boolean streams(LinearSpec linear) {
        return experts != null && linear.expert() != LinearSpec.NO_EXPERT;
    }

    /** Whether it has experts that are streamed. */
    public boolean streamsExperts() {
        return experts != null;
    }

    /** A streamed linear computes with this weight from now on. */
    public void replace(LinearSpec linear, ExpertWeights.Refill refill) {
        requireExperts().replace(linear, refill);
    }

    /** Streamed linears compute with the weights that replaced those of the other. */
    public void replaceLike(BlockWeights other) {
        requireExperts().replaceLike(other.requireExperts());
    }

    /** A linear was overwritten; a streamed one is loaded again when it is needed, and others keep what they have. */
    private void overwritten(LinearSpec linear) {
        if (streams(linear)) {
            requireExperts().forget(linear);
        }
    }

    /**
     * Changes the weight of one linear, which is given in F32 [outputs, inputs] and then kept in the matmul dtype; that of a
     * streamed expert is not kept.
     *
     * @param device that has it
     * @param edit writes to the tensor, and may return something
     */
    public <T> T rewrite(Device device, LinearSpec linear, Function<Tensor, T> edit) {
        Tensor weight = weight(linear);
        try (TensorArena scratch = device.arena()) {
            if (weight.dtype() == DType.F32) {
                return edit.apply(weight);
            }
            Tensor widened = scratch.matrix(DType.F32, weight.rows(), weight.columns());
            device.neural().convert(weight, widened);
            T result = edit.apply(widened);
            device.neural().convert(widened, weight);
            return result;
        } finally {
            overwritten(linear);
        }
    }

    private ExpertWeights requireExperts() {
        return Objects.requireNonNull(experts, "no experts are streamed");
    }

    public boolean has(ParameterKind kind) {
        return kinds.contains(kind);
    }

    public LinearWeights of(LinearSpec linear) {
        LinearWeights found = find(linear);
        if (found == null) {
            throw new IllegalArgumentException("block " + index() + " has no " + linear.role());
        }
        return found;
    }

    /** Null where these are gradients that are wanted of other linears only. */
    public @Nullable LinearWeights find(LinearSpec linear) {
        return streams(linear) ? Objects.requireNonNull(experts).of(linear) : linears.get(linear.role());
    }

    public LinearWeights of(Projection projection) {
        return of(spec.linear(projection));
    }

    /** Null if the block has no norm in that slot, or these gradients have no norms. */
    public @Nullable NormWeights norm(NormSlot slot) {
        return norms.get(slot);
    }

    public Map<NormSlot, NormWeights> norms() {
        return norms;
    }

    /** F32; null if the block has none, or these gradients do not have this kind. */
    public @Nullable Tensor parameter(Parameter parameter) {
        return parameters.get(parameter);
    }

    /**
     * The same shapes of these kinds, F32 and all zero, to sum gradients.
     *
     * @param ofLinears which linears, where those are wanted
     */
    public BlockWeights zeros(Device device, TensorArena arena, Set<ParameterKind> wanted,
            Predicate<LinearSpec> ofLinears) {
        Map<String, LinearWeights> linearSums = new HashMap<>();
        if (wanted.contains(ParameterKind.LINEAR)) {
            if (experts != null) {
                throw new IllegalStateException("gradients of streamed experts: load the block as a whole");
            }
            linears().stream().filter(ofLinears)
                    .forEach(linear -> linearSums.put(linear.role(), of(linear).zeros(device, arena)));
        }
        Map<NormSlot, NormWeights> normSums = new EnumMap<>(NormSlot.class);
        if (wanted.contains(ParameterKind.NORM)) {
            norms.forEach((slot, norm) -> normSums.put(slot, norm.zeros(device, arena)));
        }
        Map<Parameter, Tensor> otherSums = new EnumMap<>(Parameter.class);
        if (wanted.contains(ParameterKind.OTHER)) {
            parameters.forEach((which, parameter) -> {
                if (which.learns()) {
                    otherSums.put(which, Zeros.like(parameter, device, arena));
                }
            });
        }
        return new BlockWeights(spec, wanted, normSums, linearSums, otherSums, null);
    }
}
