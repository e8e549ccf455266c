package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.gptq.tune.WeightStudent;
import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Everything that decides the outcome of a conversion.
 *
 * @param model the model directory
 * @param output the directory to write
 * @param heads the number of key-value heads
 * @param grouping which of them share
 * @param positions how tokens are to know their order
 * @param form the layout of the result
 * @param calibration the text
 * @param heal how it is trained afterwards; null for no training
 * @param evaluation how the result is evaluated; null for no evaluation
 * @param overwrite whether an existing output is replaced
 * @param fresh whether to delete what an interrupted run left instead of resuming
 * @param threads of the host
 * @param force whether a model is written that is known to be much worse than the original
 */
public record ConvertSettings(Path model, Path output, Heads heads, Grouping grouping, Positions positions, Form form,
        Calibration calibration,
        @Nullable Heal heal, @Nullable Evaluation evaluation, boolean overwrite, boolean fresh, int threads,
        boolean force) {

    /** The user's files of text. */
    public List<Path> texts() {
        List<Path> texts = new ArrayList<>(calibration.text().paths());
        Stream.of(heal == null ? null : heal.text(), evaluation == null ? null : evaluation.text())
                .filter(Objects::nonNull).forEach(texts::add);
        return texts;
    }

    /** The layout of the result. */
    public enum Form {
        /** the model's own family, or opt_gqa where that cannot say what it will be */
        AUTO,
        /** mpt, for llama.cpp */
        MPT
    }

    /** How tokens are to know their order. */
    public enum Positions {
        /** as they do */
        KEEP,
        /** by ALiBi, in the place of rotary embedding or of learned positions */
        ALIBI
    }

    /** The number of key-value heads. */
    public sealed interface Heads {
        /** A count. */
        record Count(int kvHeads) implements Heads {}

        /** A divisor of the present number. */
        record Ratio(int ratio) implements Heads {}

        /**
         * As many in all layers together as this share of the present KV cache holds; each layer gets its own number.
         *
         * @param share above 0, below 1
         */
        record Share(double share) implements Heads {}

        /** The same as bytes for each token, with keys and values in 16 bits. */
        record Bytes(long perToken) implements Heads {}

        /** Whether layers may differ. */
        default boolean byLayer() {
            return this instanceof Share || this instanceof Bytes;
        }

        /** The option that says it. */
        default String option() {
            return switch (this) {
                case Count _ -> "--kv-heads";
                case Ratio _ -> "--ratio";
                case Share _,Bytes _ -> "--kv-bytes";
            };
        }

        /** What follows the option: "4", or "50%". */
        default String words() {
            return switch (this) {
                case Count(int kvHeads) -> String.valueOf(kvHeads);
                case Ratio(int ratio) -> String.valueOf(ratio);
                case Share(double share) -> BigDecimal.valueOf(share).movePointRight(2).stripTrailingZeros()
                        .toPlainString() + "%";
                case Bytes(long perToken) -> String.valueOf(perToken);
            };
        }
    }

    /**
     * The calibration text.
     *
     * @param text where it is, and how it and the other texts become tokens
     * @param samples sequences
     * @param length tokens of each
     * @param seed of random sampling
     */
    public record Calibration(Corpus text, Sampling sampling, int samples, int length, long seed) {}

    /**
     * The evaluation text.
     *
     * @param text null for the bundled one
     * @param window tokens
     */
    public record Evaluation(@Nullable Path text, int window) {}

    /**
     * Distillation from the original.
     *
     * @param text null for that of the calibration
     * @param scope what is learned
     * @param rate of learning; null where it is chosen by trying some
     * @param decay of the weights, AdamW's
     * @param batch sequences of a step
     * @param length tokens of a sequence
     * @param seed of the order of sequences
     * @param precision matmul dtype of the linears while learning: HALF is bfloat16
     */
    public record Heal(int steps, @Nullable Path text, WeightStudent.Scope scope, @Nullable Double rate, double decay,
            int batch, int length, long seed, Precision precision) {

        /** Rates that are tried where none is given, falling. */
        List<Double> rates() {
            return switch (scope) {
                case ALL -> List.of(1e-3, 5e-4, 2e-4, 1e-4, 3e-5);
                case ATTENTION -> List.of(2e-3, 1e-3, 5e-4, 2e-4, 1e-4);
            };
        }
    }
}
