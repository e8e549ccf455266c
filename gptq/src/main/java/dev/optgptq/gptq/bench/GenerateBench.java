package dev.optgptq.gptq.bench;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.generate.DecodeTiming;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.bench.GenerateReport.Measured;
import dev.optgptq.gptq.bench.GenerateReport.Variant;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Decoding at the shape of a model with random weights: each variant on a newly opened device, so that its peak memory
 * is its own.
 *
 * @param devices opens the device anew
 * @param context tokens of each sequence before the first step
 * @param prompt tokens of the prompt whose time to the first token is measured
 */
public record GenerateBench(ModelShape shape, Supplier<Device> devices, List<Variant> variants, List<Integer> batches,
        int context, int prompt, int steps) {

    private static final long COPIED = 1L << 31;

    /** @param log receives each result */
    public GenerateReport run(String tool, Consumer<String> log) {
        List<Measured> measured = new ArrayList<>();
        String name;
        String description;
        double copy;
        try (Device device = devices.get()) {
            name = device.name();
            description = device.description();
            copy = copyRate(device);
        }
        for (Variant variant : variants) {
            for (int batch : batches) {
                Measured result = measure(variant, batch);
                measured.add(result);
                log.accept(result.line(copy));
            }
        }
        return new GenerateReport(1, tool, shape.name(), name, description, context, prompt, copy, measured);
    }

    private Measured measure(Variant variant, int batch) {
        ModelShape own = shape.with(variant.kvHeads(), variant.bits());
        try (Arena arena = Arena.ofShared();
                ModelDirectory directory = variant.bits() < 16
                        ? RandomModel.openPacked(own, variant.bits(), arena)
                        : RandomModel.open(own, arena);
                Device device = devices.get()) {
            DType products = device.freeMemory().isPresent() ? DType.F16 : DType.F32;
            Transformer model = Transformer.open(directory, ModelSpec.resolve(own.config()), device)
                    .forGeneration(products);
            return new Measured(variant, batch, DecodeTiming.measure(model,
                    new DecodeTiming.Work(variant.cache(), batch, context, steps, prompt)), null);
        } catch (UserError e) {
            if (e.code() != UserError.Code.MEMORY) {
                throw e;
            }
            return new Measured(variant, batch, null, "does not fit");
        }
    }

    /** Bytes read and written by a copy of 2 GiB, or of 128 MiB where the device is the host. */
    private static double copyRate(Device device) {
        long bytes = device.freeMemory().isPresent() ? COPIED : COPIED >> 4;
        try (TensorArena arena = device.arena()) {
            Tensor from = arena.matrix(DType.F32, bytes >> 14, 1 << 12);
            Tensor to = arena.matrix(DType.F32, bytes >> 14, 1 << 12);
            device.matrix().fill(from, 1);
            return 2.0 * bytes / new Stopwatch(device).seconds(() -> device.matrix().copy(from, to));
        }
    }
}
