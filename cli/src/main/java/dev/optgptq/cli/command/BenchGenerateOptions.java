package dev.optgptq.cli.command;

import dev.optgptq.gptq.settings.SettingChecks;
import dev.optgptq.gptq.bench.GenerateBench;
import dev.optgptq.gptq.bench.GenerateReport.Variant;
import dev.optgptq.gptq.bench.ModelShape;
import dev.optgptq.kernels.ops.CacheType;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import dev.optgptq.kernels.Device;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** What bench --generate measures. */
final class BenchGenerateOptions {

    @Option(names = "--generate", description = "Measure decoding with random weights, instead of quantizing.")
    boolean generate;

    @Option(names = "--kv-heads", paramLabel = "N", description = "Key-value heads of Opt-GQA. Default: those of the shape")
    private @Nullable Integer kvHeads;

    @Option(names = "--bits", paramLabel = "N", description = "Bits of the weights: 4, 8, or 16 for fp16/bf16. "
            + "Default: ${DEFAULT-VALUE}", defaultValue = "4")
    private int bits = 4;

    @Option(names = "--cache", paramLabel = "TYPE", split = ",", description = "Dtype of keys and values; separate "
            + "several with commas. Default: float16", converter = CacheTypeConverter.class)
    private List<CacheType> caches = List.of(CacheType.F16);

    @Option(names = "--context", paramLabel = "N", description = "Tokens of each sequence before the first step. Default: ${DEFAULT-VALUE}", defaultValue = "4096")
    private int context = 4096;

    @Option(names = "--batch", paramLabel = "N", split = ",", description = "Sequences in a batch; separate several "
            + "with commas. Default: 1")
    private List<Integer> batches = List.of(1);

    @Option(names = "--prompt-tokens", paramLabel = "N", description = "Prompt length for the time to the first "
            + "token. Default: 4096, or the context")
    private @Nullable Integer prompt;

    @Option(names = "--steps", paramLabel = "N", description = "Decoding steps to measure. Default: ${DEFAULT-VALUE}", defaultValue = "16")
    private int steps = 16;

    @Option(names = "--compare", description = "Also measure multi-head attention and Opt-GQA in fp16/bf16.")
    private boolean compare;

    GenerateBench bench(ModelShape shape, Supplier<Device> devices) {
        SettingChecks.require(bits == 4 || bits == 8 || bits == 16, "--bits", bits, "4, 8 or 16");
        SettingChecks.atLeast(1, "--context", context);
        SettingChecks.atLeast(1, "--steps", steps);
        batches.forEach(batch -> SettingChecks.atLeast(1, "--batch", batch));
        int heads = shape.heads();
        int own = kvHeads == null ? shape.kvHeads() : kvHeads;
        SettingChecks.require(own >= 1 && heads % own == 0, "--kv-heads", own,
                "a divisor of the model's " + heads + " heads");
        List<Variant> variants = new ArrayList<>();
        if (compare) {
            variants.add(new Variant("MHA fp16", heads, 16, CacheType.F16));
            variants.add(new Variant("Opt-GQA fp16", own, 16, CacheType.F16));
        }
        caches.forEach(cache -> variants.add(new Variant(
                "Opt-GQA " + (bits == 16 ? "fp16" : "int" + bits) + ", cache " + cache.word(), own, bits, cache)));
        return new GenerateBench(shape, devices, variants, batches, context,
                prompt == null ? Math.min(4096, context) : prompt, steps);
    }
}
