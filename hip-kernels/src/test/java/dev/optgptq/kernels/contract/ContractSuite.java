package dev.optgptq.kernels.contract;

import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** All cases. An op set keeps its cases in its own file; cases for tests are small, those for bench are large. */
final class ContractSuite {

    private static final List<Supplier<List<OpCase>>> CASES = List.of(MatrixCases::cases, QuantCases::cases,
            DescentCases::cases,
            PackedCases::cases, NeuralCases::cases, GradientCases::cases, TuningCases::cases, KlCases::cases,
            NormGroupCases::cases, GateCases::cases, MixtureCases::cases, DeltaCases::cases, CacheCases::cases,
            FusedCases::cases,
            Float64Cases::cases,
            AttentionMatrixCases::cases);

    private static final List<Supplier<List<OpCase>>> BENCH = List.of(MatrixCases::bench, QuantCases::bench,
            DescentCases::bench,
            PackedCases::bench, NeuralCases::bench, GradientCases::bench, TuningCases::bench, KlCases::bench,
            NormGroupCases::bench, GateCases::bench, MixtureCases::bench, DeltaCases::bench, CacheCases::bench,
            FusedCases::bench,
            Float64Cases::bench,
            AttentionMatrixCases::bench);

    private ContractSuite() {}

    /** The cases of the modes test and support: odd, tiny and tile-edge shapes, quick on the reference. */
    static Stream<OpCase> cases() {
        return CASES.stream().flatMap(source -> source.get().stream());
    }

    /** Backward ops with what they are the gradients of; their cases are among those above. */
    static Stream<GradientCase> gradients() {
        return Stream.of(GradientCases.withForward(), NormGroupCases.gradients(), GateCases.gradients(),
                MixtureCases.gradients(), DeltaCases.gradients())
                .flatMap(List::stream);
    }

    /** The cases of the mode bench: the shapes of real models, with their work declared. */
    static Stream<OpCase> bench() {
        return BENCH.stream().flatMap(source -> source.get().stream());
    }
}
