package dev.optgptq.gptq.verify;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.DocumentForm;
import dev.optgptq.calibrate.data.DocumentTokens;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.gptq.run.checkpoint.ScaleCount;
import dev.optgptq.gptq.verify.Verification.Check;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Checks a checkpoint, each check on its own where those before it left something to check. A check never throws for what is wrong with
 * the checkpoint; a directory of the original model that cannot be opened is an error.
 */
public final class Verifier {

    /** A linear with a larger share of lost groups misses; pruned outputs and dead neurons leave a few. */
    private static final double MANY = 0.01;
    private static final int WINDOWS = 4;
    private static final int WINDOW = 128;
    /** Nats. A checkpoint whose zero points or groups are misread has several; 2 bits round to nearest stay below. */
    private static final double MOST_KL = 1;

    private final Path directory;
    private final @Nullable Path against;
    private final Device device;
    private final Progress progress;
    private final List<Check> checks = new ArrayList<>();

    private Verifier(Path directory, @Nullable Path against, Device device, Progress progress) {
        this.directory = directory;
        this.against = against;
        this.device = device;
        this.progress = progress;
    }

    /**
     * Checks everything.
     *
     * @param against the model that was quantized; null where it is not there
     * @throws UserError for the original, and where a device fails
     */
    public static Verification verify(Path directory, @Nullable Path against, Device device, Progress progress) {
        return new Verifier(directory, against, device, progress).verify();
    }

    private Verification verify() {
        // Outside of the checks: what is wrong with the original is not the checkpoint's fault.
        try (ModelDirectory original = against == null ? null : ModelDirectory.open(against)) {
            Transformer compared = original == null ? null : Transformer.open(original, device);
            try (ModelDirectory opened = check("files", () -> ModelDirectory.open(directory), Verifier::files)) {
                if (opened != null) {
                    verify(opened, compared);
                }
            }
        }
        return Verification.of(directory.toString(), against == null ? null : against.toString(), checks);
    }

    private void verify(ModelDirectory opened, @Nullable Transformer original) {
        // Opening compares every tensor with the config, and checks groups, zero points and scales.
        Transformer model = check("tensors", () -> Transformer.open(opened, device), found -> tensors(found, opened));
        if (model == null) {
            return;
        }
        scales(model, opened);
        if (original != null) {
            check("weights", () -> WeightDistance.worst(original, model, opened), WeightDistance::detail);
        }
        forwardPass(model, original);
    }

    private static String files(ModelDirectory opened) {
        return opened.tensors().size() + " tensors in "
                + opened.tensors().values().stream().map(TensorView::file).distinct().count() + " files";
    }

    private static String tensors(Transformer model, ModelDirectory opened) {
        return model.spec().family() + ", " + model.spec().blocks() + " blocks, "
                + opened.quantization().map(Verifier::words).orElse("not quantized");
    }

    private static String words(QuantizationConfig quantization) {
        int others = quantization.grids().size() - 1;
        return quantization.format() + ", " + quantization.grids().getFirst()
                + (others == 0
                        ? ""
                        : ", and " + others + (others == 1 ? " other grid" : " other grids") + " for some modules");
    }

    private void scales(Transformer model, ModelDirectory opened) {
        ScaleCount all = ScaleCount.NONE;
        List<LinearSpec> linears = IntStream.range(0, model.spec().blocks()).boxed()
                .flatMap(block -> model.spec().linears(block).stream()).toList();
        for (LinearSpec linear : linears) {
            Optional<PackedLinear> packed = opened.packed(linear.module());
            if (packed.isPresent()) {
                ScaleCount count = ScaleCount.of(packed.get().scales());
                if (count.subnormal() > MANY * count.all()) {
                    checks.add(new Check("scales", false, linear.module() + ": " + count.subnormal() + " of "
                            + count.all()
                            + " scales are 0 or subnormal in float16, so that their weights are 0 or coarse; quantize again"));
                    return;
                }
                all = all.plus(count);
            }
        }
        checks.add(new Check("scales", true, String.format(Locale.ROOT, "%,d, all finite, %.1f %% negative", all.all(),
                100 * all.negativeShare())));
    }

    private void forwardPass(Transformer model, @Nullable Transformer original) {
        String name = "forward pass";
        try (Tokenizer tokenizer = Tokenizer.load(directory)) {
            TokenSequences text = Corpus.calibration(null).evaluation(null).windows(
                    DocumentTokens.of(directory, tokenizer, DocumentForm.DEFAULT),
                    Math.min(WINDOW, model.spec().maxPositions()));
            TokenSequences some = text.select(IntStream.range(0, Math.min(WINDOWS, text.count())).toArray());
            some.requireVocabulary(model.spec().vocabSize());
            if (original == null) {
                double perplexity = Perplexity.evaluate(model, some, progress).perplexity();
                checks.add(new Check(name, true, String.format(Locale.ROOT, "finite; perplexity %.4g over %d tokens",
                        perplexity, some.tokens())));
                return;
            }
            ModelComparison comparison = ModelComparison.evaluate(original, model, some, progress);
            double kl = comparison.divergence().kl();
            checks.add(new Check(name, kl < MOST_KL, String.format(Locale.ROOT,
                    "KL divergence %.4f from the original, which has to be less than %.0f; top-1 agreement %.1f %%; %d tokens",
                    kl,
                    MOST_KL, 100 * comparison.divergence().top1(), some.tokens())));
        } catch (UserError e) {
            checks.add(failed(name, e));
        }
    }

    private <T> @Nullable T check(String name, Supplier<T> doing, Function<T, String> detail) {
        try {
            T done = doing.get();
            checks.add(new Check(name, true, detail.apply(done)));
            return done;
        } catch (UserError e) {
            checks.add(failed(name, e));
            return null;
        }
    }

    private static Check failed(String name, UserError e) {
        return new Check(name, false, String.valueOf(e.getMessage()));
    }
}
