package dev.optgptq.kernels.contract;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.contract.OpCase.Operand;
import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Gradient mode: the reference's backward ops against differences of its forward ops. Both compute in float64; between them
 * lie float32 tensors, so inputs are multiples of 1/256 and steps of 1/32, which float32 holds exactly, and the stencil is
 * of sixth order, whose own error is then below 1e-8.
 */
class FiniteDifferencesTest {

    private static final double STEP = 1.0 / 32;
    private static final double[] STENCIL = {45.0 / 60, -9.0 / 60, 1.0 / 60};
    private static final int PROBES = 6;
    /** Larger cases would only take longer. */
    private static final long MOST_ELEMENTS = 6_000;
    /** The float32 rounding of the outputs, over the step. */
    private static final double TOLERANCE = 1e-4;

    @TestFactory
    Stream<DynamicTest> theReferencesGradientsAreTheSlopesOfItsForwardOps() {
        return ContractSuite.gradients().filter(FiniteDifferencesTest::isSmall)
                .map(gradient -> DynamicTest.dynamicTest(gradient.toString(), () -> check(gradient)));
    }

    private static boolean isSmall(GradientCase gradient) {
        long elements = gradient.backward().operands().stream()
                .mapToLong(operand -> operand.rows() * operand.columns()).sum();
        return elements <= MOST_ELEMENTS;
    }

    private static void check(GradientCase gradient) {
        OpCase opCase = gradient.backward();
        try (Device device = Devices.open("reference", 1); TensorArena arena = device.arena()) {
            Map<String, HostMatrix> before = new LinkedHashMap<>();
            Map<String, Tensor> tensors = new LinkedHashMap<>();
            for (Operand operand : opCase.operands()) {
                before.put(operand.name(), operand.fill(opCase.seed()));
                tensors.put(operand.name(), arena.matrix(operand.dtype(), operand.rows(), operand.columns()));
                upload(device, tensors, before, operand.name());
            }
            opCase.call().run(device, name -> find(tensors, name));
            gradient.gradients().forEach((input, target) -> {
                HostMatrix after = download(device, find(tensors, target));
                for (Operand operand : opCase.operands()) {
                    upload(device, tensors, before, operand.name());
                }
                compare(gradient, device, tensors, before, input, target, after);
                opCase.call().run(device, name -> find(tensors, name));
            });
        }
    }

    private static void compare(GradientCase gradient, Device device, Map<String, Tensor> tensors,
            Map<String, HostMatrix> before, String input, String target, HostMatrix after) {
        OpCase opCase = gradient.backward();
        HostMatrix start = find(before, input);
        long elements = start.rows() * start.columns();
        SplittableRandom random = new SplittableRandom(opCase.seed() + input.hashCode());
        // What a gradient is added to is not part of it.
        boolean accumulates = role(opCase, target) == Operand.Role.IN_PLACE && !target.equals(input)
                && !target.equals(gradient.outputGradient());
        for (int probe = 0; probe < Math.min(PROBES, elements); probe++) {
            long at = elements <= PROBES ? probe : random.nextLong(elements);
            double found = after.get(at) - (accumulates ? find(before, target).get(at) : 0);
            double expected = slope(gradient, device, tensors, before, input, at);
            double allowed = TOLERANCE * Math.max(1, after.largest());
            assertTrue(Math.abs(found - expected) <= allowed, () -> opCase + ", seed " + opCase.seed()
                    + ": gradient of " + input + "[" + at + "] is " + found + ", the slope is " + expected);
        }
    }

    /** The derivative of sum(outputGradient * output) by one element of an input. */
    private static double slope(GradientCase gradient, Device device, Map<String, Tensor> tensors,
            Map<String, HostMatrix> before, String input, long at) {
        double sum = 0;
        for (int i = 0; i < STENCIL.length; i++) {
            double right = loss(gradient, device, tensors, before, input, at, (i + 1) * STEP);
            double left = loss(gradient, device, tensors, before, input, at, -(i + 1) * STEP);
            sum += STENCIL[i] * (right - left) / STEP;
        }
        return sum;
    }

    private static double loss(GradientCase gradient, Device device, Map<String, Tensor> tensors,
            Map<String, HostMatrix> before, String input, long at, double step) {
        HostMatrix original = find(before, input);
        HostMatrix moved = HostMatrix.empty(original.dtype(), original.rows(), original.columns());
        moved.bytes().copyFrom(original.bytes());
        moved.bytes().setAtIndex(ValueLayout.JAVA_FLOAT, at, (float) (original.get(at) + step));
        device.upload(moved.bytes(), find(tensors, input));
        try (TensorArena scratch = device.arena()) {
            HostMatrix output = download(device,
                    gradient.forward().run(device, scratch, name -> find(tensors, name)));
            HostMatrix weights = find(before, gradient.outputGradient());
            double loss = 0;
            for (long i = 0; i < output.rows() * output.columns(); i++) {
                loss += weights.get(i) * output.get(i);
            }
            return loss;
        } finally {
            upload(device, tensors, before, input);
        }
    }

    private static Operand.Role role(OpCase opCase, String name) {
        return opCase.operands().stream().filter(operand -> operand.name().equals(name)).findFirst().orElseThrow()
                .role();
    }

    private static void upload(Device device, Map<String, Tensor> tensors, Map<String, HostMatrix> contents,
            String name) {
        device.upload(find(contents, name).bytes(), find(tensors, name));
    }

    private static HostMatrix download(Device device, Tensor tensor) {
        HostMatrix host = HostMatrix.empty(tensor.dtype(), tensor.rows(), tensor.columns());
        device.download(tensor, host.bytes());
        return host;
    }

    private static <T> T find(Map<String, T> map, String name) {
        return Objects.requireNonNull(map.get(name), name);
    }
}
