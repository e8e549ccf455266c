package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.Collections;
import java.util.stream.Collectors;

/**
 * The number of key-value heads of each layer.
 *
 * @param before that all layers have
 * @param kvHeads by layer
 */
public record HeadPlan(int before, List<Integer> kvHeads) {

    public HeadPlan {
        kvHeads = List.copyOf(kvHeads);
    }

    /**
     * The same number for all layers; all that there are where each layer is to have its own. Throws UserError BAD_SETTING
     * if it does not divide the heads, or if a total is none that can be reached.
     */
    static HeadPlan of(ModelSpec spec, ConvertSettings.Heads wanted) {
        int have = attention(spec).kvHeads();
        int kvHeads = switch (wanted) {
            case ConvertSettings.Heads.Count(int count) -> {
                require(count >= 1 && count <= have && have % count == 0, "--kv-heads " + count, spec);
                yield count;
            }
            case ConvertSettings.Heads.Ratio(int ratio) -> {
                require(ratio >= 1 && have % ratio == 0, "--ratio " + ratio, spec);
                yield have / ratio;
            }
            case ConvertSettings.Heads.Share share -> {
                total(spec, share);
                yield have;
            }
            case ConvertSettings.Heads.Bytes bytes -> {
                total(spec, bytes);
                yield have;
            }
        };
        return new HeadPlan(have, Collections.nCopies(spec.blocks(), kvHeads));
    }

    /** Key-value heads of all layers together at most, for a wish by layer. Throws UserError BAD_SETTING. */
    static int total(ModelSpec spec, ConvertSettings.Heads wanted) {
        int each = 2 * attention(spec).headDim() * DType.F16.bytes();
        long have = (long) attention(spec).kvHeads() * spec.blocks();
        long total = switch (wanted) {
            case ConvertSettings.Heads.Share(double share) -> (long) Math.floor(share * have);
            case ConvertSettings.Heads.Bytes(long perToken) -> perToken / each;
            case ConvertSettings.Heads.Count count -> throw new IllegalArgumentException(count.toString());
            case ConvertSettings.Heads.Ratio ratio -> throw new IllegalArgumentException(ratio.toString());
        };
        if (total < spec.blocks() || total >= have) {
            throw new UserError(Code.BAD_SETTING, "--kv-bytes: the KV cache holds " + have * each
                    + " bytes for each token, and at least " + (long) spec.blocks() * each
                    + " with one key-value head in each of " + spec.blocks() + " layers; found room for "
                    + total * each + ". Give a number of bytes between these, or a share");
        }
        return Math.toIntExact(total);
    }

    /** Numbers of key-value heads that fewer could be, falling. */
    static List<Integer> fewer(ModelSpec spec) {
        int have = attention(spec).kvHeads();
        return divisors(have).reversed().stream().filter(kvHeads -> kvHeads < have).toList();
    }

    private static void require(boolean divides, String option, ModelSpec spec) {
        if (!divides) {
            int have = attention(spec).kvHeads();
            throw new UserError(Code.BAD_SETTING, option + ": the " + have + " key-value heads of "
                    + attention(spec).heads() + " query heads cannot be merged to that; --kv-heads takes "
                    + divisors(have).stream().map(String::valueOf).collect(Collectors.joining(", ")));
        }
    }

    private static List<Integer> divisors(int n) {
        List<Integer> divisors = new ArrayList<>();
        for (int i = 1; i <= n; i++) {
            if (n % i == 0) {
                divisors.add(i);
            }
        }
        return divisors;
    }

    /** Of the first block: ConvertCheck has checked that all are alike. */
    static Mixer.Attention attention(ModelSpec spec) {
        return (Mixer.Attention) spec.block(0).mixer();
    }

    /** Inputs of the down projection that is fitted; 0 where there are experts, whose are not. */
    static int fittedWidth(ModelSpec spec) {
        return spec.block(0).feedForward() instanceof FeedForward.Dense
                ? spec.block(0).inputs(InputSite.MLP_OUTPUT)
                : 0;
    }

    /** Whether all layers have as many. */
    boolean isUniform() {
        return kvHeads.stream().distinct().count() == 1;
    }

    /** Bytes of the KV cache for a token, for a dtype of a given size. */
    static long bytesPerToken(List<Integer> kvHeads, int headDim, int elementBytes) {
        return kvHeads.stream().mapToLong(heads -> 2L * heads * headDim * elementBytes).sum();
    }
}
