package dev.optgptq.calibrate.eval;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.gradient.ParameterGradients;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.Device;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Compares a family's description with the output of another implementation for a tiny model: a folder with the model,
 * golden.safetensors ("input_ids" int64 [batch, length], "logits" float32 [batch, length, vocabulary]), and, optionally
 * golden-gradients.safetensors (each parameter's under its name on disk).
 */
public record GoldenCheck(Path folder, Device device) {

    public static final String LOGITS = "golden.safetensors";
    public static final String GRADIENTS = "golden-gradients.safetensors";
    /** Gradients below it are zero up to rounding. */
    private static final double NOTHING = 1e-6;

    /**
     * The distance of one tensor from the golden one.
     *
     * @param relative the largest difference, divided by the largest golden entry; infinite where the tensor is missing
     */
    public record Distance(String tensor, double relative) {}

    /**
     * The result.
     *
     * @param logits null without golden logits
     * @param gradients of every tensor that the golden file has
     */
    public record Found(ModelSpec spec, Optional<Distance> logits, List<Distance> gradients) {

        /** The largest of all. */
        public double worst() {
            double ofGradients = gradients.stream().mapToDouble(Distance::relative).max().orElse(0);
            return Math.max(logits.map(Distance::relative).orElse(0.0), ofGradients);
        }
    }

    /** Throws UserError if a file is missing. */
    public Found run(Progress progress) {
        Path golden = folder.resolve(LOGITS);
        if (!Files.isRegularFile(golden)) {
            throw new UserError(UserError.Code.BAD_MODEL, golden + ": expected input_ids and the logits of another "
                    + "implementation, found no such file; see CONTRIBUTING, adding a family");
        }
        try (ModelDirectory model = ModelDirectory.open(folder)) {
            ModelSpec spec = ModelSpec.resolve(model);
            Transformer transformer = Transformer.open(model, spec, device);
            TokenSequences ids = InputIds.read(golden, spec.vocabSize());
            Path scratch = Files.createTempDirectory("opt-gptq-check");
            try {
                return compare(transformer, ids, golden, scratch, progress);
            } finally {
                delete(scratch);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private Found compare(Transformer model, TokenSequences ids, Path golden, Path scratch, Progress progress) {
        Path logits = scratch.resolve("logits");
        Logits.write(model, ids, logits, progress);
        Optional<Distance> ofLogits = distances(golden, logits).stream()
                .filter(distance -> distance.tensor().equals("logits")).findFirst();
        Path goldenGradients = folder.resolve(GRADIENTS);
        if (!Files.isRegularFile(goldenGradients)) {
            return new Found(model.spec(), ofLogits, List.of());
        }
        Path gradients = scratch.resolve("gradients");
        ParameterGradients.write(model, ids, gradients, progress);
        return new Found(model.spec(), ofLogits, distances(goldenGradients, gradients));
    }

    private static List<Distance> distances(Path golden, Path computed) {
        List<Distance> distances = new ArrayList<>();
        try (SafetensorsFile expected = SafetensorsFile.open(golden);
                SafetensorsFile found = SafetensorsFile.open(computed)) {
            for (Map.Entry<String, TensorView> entry : expected.tensors().entrySet()) {
                TensorView other = found.tensors().get(entry.getKey());
                if (entry.getValue().dtype() == DType.F32) {
                    distances.add(new Distance(entry.getKey(),
                            other == null ? Double.POSITIVE_INFINITY : distance(entry.getValue(), other)));
                }
            }
        }
        return distances;
    }

    private static double distance(TensorView golden, TensorView found) {
        if (!golden.shape().equals(found.shape())) {
            return Double.POSITIVE_INFINITY;
        }
        MemorySegment a = golden.data();
        MemorySegment b = found.data();
        double largest = 0;
        double worst = 0;
        for (long i = 0; i < golden.shape().elements(); i++) {
            double expected = a.get(ValueLayout.JAVA_FLOAT_UNALIGNED, i * Float.BYTES);
            double difference = Math.abs(b.get(ValueLayout.JAVA_FLOAT_UNALIGNED, i * Float.BYTES) - expected);
            largest = Math.max(largest, Math.abs(expected));
            // NaN stays NaN here, and is not below any tolerance.
            worst = Math.max(worst, difference);
        }
        return worst <= NOTHING && largest <= NOTHING ? 0 : worst / largest;
    }

    private static void delete(Path scratch) throws IOException {
        try (var files = Files.list(scratch)) {
            for (Path file : files.toList()) {
                Files.delete(file);
            }
        }
        Files.delete(scratch);
    }
}
