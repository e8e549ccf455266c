package dev.optgptq.kernels.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Routing.GroupScore;
import dev.optgptq.kernels.ops.Routing.Scoring;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MixtureArgumentsTest {

    private static final Routing ROUTING = new Routing(Scoring.SOFTMAX, 4, 2, true, 1);

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aWrongArgumentIsNamedWithItsOpAndWhatWasExpectedAndFound(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            MixtureOps ops = device.mixture();
            Tensor logits = arena.matrix(DType.F32, 3, 4);
            Tensor weights = arena.matrix(DType.F32, 3, 2);
            Tensor experts = arena.matrix(DType.I32, 3, 2);
            Tensor slots = arena.vector(DType.I32, 6);
            refused("route: logits: expected F32[3, 4], found F32[3, 2]",
                    () -> ops.route(weights, null, ROUTING, experts, weights));
            refused("route: bias: expected F32[1, 4], found F32[3, 4]",
                    () -> ops.route(logits, logits, ROUTING, experts, weights));
            refused("routeGradient: dWeights: expected F32[3, 2], found F32[3, 4]",
                    () -> ops.routeGradient(logits, ROUTING, experts, logits, logits));
            refused("sortByExpert: slots: expected I32[1, 6], found I32[1, 5]",
                    () -> ops.sortByExpert(experts, slots, slots.columns(0, 5), slots));
            refused("scatterAddRows: order: expected I32[1, 3], found I32[1, 6]",
                    () -> ops.scatterAddRows(logits, slots, null, logits));
            refused("scatterAddRowsGradient: dFactors: expected F32[1, 3], found F32[3, 4]", () -> ops
                    .scatterAddRowsGradient(logits, slots.columns(0, 3), null, logits, logits, logits));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void anExpertThatThereIsNotIsRefused(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            Tensor experts = arena.matrix(DType.I32, 1, 2);
            experts.memory().fill((byte) 0).setAtIndex(ValueLayout.JAVA_INT, 1, 4);
            Tensor slots = arena.vector(DType.I32, 2);
            assertThrows(IndexOutOfBoundsException.class, () -> device.mixture().sortByExpert(experts, slots, slots,
                    arena.vector(DType.I32, 5)));
        }
    }

    @Test
    void aRoutingThatCannotChooseSoManyIsRefused() {
        refused("bad routing: experts 8 (1 to 1024), active 5, groups 2, active groups 1",
                () -> new Routing(Scoring.SIGMOID, 8, 5, true, 1, 2, 1, GroupScore.MAX));
        refused("bad routing: experts 9 (1 to 1024), active 1, groups 2, active groups 1",
                () -> new Routing(Scoring.SIGMOID, 9, 1, true, 1, 2, 1, GroupScore.MAX));
    }

    private static void refused(String message, Executable call) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
    }
}
