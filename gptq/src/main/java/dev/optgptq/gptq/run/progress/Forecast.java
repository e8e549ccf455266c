package dev.optgptq.gptq.run.progress;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.RunTexts;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/**
 * Parts of a run and their estimated times, printed before it begins: the floating-point operations of each part at the
 * rate of the model's largest linear, measured now.
 */
public final class Forecast {

    private static final double MEASURED_SECONDS = 0.05;
    /** Work of a run beside its matmuls: attention, norms, quantizing, files. */
    private static final double BESIDE = 2;
    private static final int MINUTE = 60;

    private Forecast() {}

    /** A line for the total and one for each part; none for a run without text, which takes as long as its file I/O. */
    public static List<String> lines(Device device, ModelSpec model, RunTexts texts, QuantizeSettings settings,
            WorkCount work, double total) {
        TokenSequences calibration = texts.calibration();
        TokenSequences evaluation = texts.evaluation();
        TokenSequences text = calibration == null ? evaluation : calibration;
        if (text == null) {
            return List.of();
        }
        double rate = rate(device, model, text.length());
        double gradients = calibration != null && settings.weighsTokens() ? work.gradients(calibration) : 0;
        double evaluating = evaluation == null ? 0 : 2 * work.evaluation(evaluation);
        List<String> lines = new ArrayList<>();
        if (gradients > 0) {
            lines.add(line("gradient pass", gradients / rate,
                    "backward pass over the calibration text, for token weights"));
        }
        lines.add(line(model.blocks() + " blocks", (total - gradients - evaluating) / rate, blocks(settings)));
        if (evaluation != null) {
            lines.add(line("evaluate", evaluating / rate, "KL divergence, top-1 agreement and perplexity, on "
                    + evaluation.count() + " windows of " + evaluation.length() + " tokens"));
        }
        lines.addFirst("this run, " + duration(total / rate) + " for its matmuls:");
        return lines;
    }

    private static String line(String part, double seconds, String what) {
        return String.format(Locale.ROOT, "  %-13s  %-12s  %s", part, duration(seconds), what);
    }

    private static String blocks(QuantizeSettings settings) {
        return switch (settings.solving().calibrator()) {
            case RTN -> "round to nearest";
            case GPTQ -> "forward pass, Hessians, solve";
            case GRADIENT -> "forward pass, Hessians, solve variants, validate on held-out text"
                    + (settings.refinement().tuneSteps() > 0 ? ", learn rounding and scales" : "");
        };
    }

    private static String duration(double seconds) {
        double about = BESIDE * seconds;
        return about < 1
                ? "below 1 s"
                : about < MINUTE
                        ? String.format(Locale.ROOT, "about %.0f s", about)
                        : String.format(Locale.ROOT, "about %.0f min", about / MINUTE);
    }

    /**
     * Operations a second of x W^T, x F32 [rows, inputs], W F32 [outputs, inputs]: uses no more memory than the run
     * itself.
     */
    private static double rate(Device device, ModelSpec model, int rows) {
        LinearSpec linear = model.linears(0).stream()
                .max(Comparator.comparingLong(each -> (long) each.inputs() * each.outputs())).orElseThrow();
        try (TensorArena arena = device.arena()) {
            Tensor x = arena.matrix(DType.F32, rows, linear.inputs());
            Tensor w = arena.matrix(DType.F32, linear.outputs(), linear.inputs());
            Tensor y = arena.matrix(DType.F32, rows, linear.outputs());
            device.matrix().fill(x, 0.5f);
            device.matrix().fill(w, 0.25f);
            product(device, x, w, y); // the first one also starts threads and libraries
            int done = 0;
            long start = System.nanoTime();
            double seconds = 0;
            while (seconds < MEASURED_SECONDS) {
                product(device, x, w, y);
                done++;
                seconds = (System.nanoTime() - start) / 1e9;
            }
            return 2.0 * rows * linear.inputs() * linear.outputs() * done / seconds;
        }
    }

    private static void product(Device device, Tensor x, Tensor w, Tensor y) {
        device.matrix().gemm(1, x, false, w, true, 0, y);
        device.synchronize();
    }
}
