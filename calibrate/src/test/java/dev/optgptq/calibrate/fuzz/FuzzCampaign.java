package dev.optgptq.calibrate.fuzz;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.tokenizer.Tokenizer;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Reads random inputs as a command would, until a number of inputs is read or the time is over: each is accepted or is
 * a UserError that says something. Arguments: inputs, minutes, first seed. Exits with 1 when an input did anything
 * else; a JVM that died, or hangs, had written the seed to fuzz-seed.txt.
 */
public final class FuzzCampaign {

    private static final double SLOW_SECONDS = 10;
    private static final String TEXT = "The ab  caf\u00e9\r\n\t\uD83D\uDE00 aaaaaaaaaaaaaaaaaaaaaaaaaaab 12345 'll <s>";

    /** What is mutated, with its share of 100 inputs: each tokenizer needs a process. */
    private enum Kind {
        HEADER(40), CONFIG(30), INDEX(9), PACKED(20), TOKENIZER(1);

        private final int share;

        Kind(int share) {
            this.share = share;
        }

        static Kind of(long seed) {
            int at = Math.floorMod(seed, 100);
            for (Kind kind : values()) {
                at -= kind.share;
                if (at < 0) {
                    return kind;
                }
            }
            throw new IllegalStateException("the shares are less than a hundred");
        }
    }

    private final Seeds seeds = new Seeds();
    private final Path folder;
    private final PrintStream out;
    private final SortedMap<String, Integer> outcomes = new TreeMap<>();
    private int failures;

    private FuzzCampaign(Path folder, PrintStream out) {
        this.folder = folder;
        this.out = out;
    }

    public static void main(String[] args) throws IOException {
        long inputs = Long.parseLong(args[0]);
        long end = System.nanoTime() + (long) (Double.parseDouble(args[1]) * 60e9);
        long first = Long.parseLong(args[2]);
        FuzzCampaign campaign = new FuzzCampaign(Files.createTempDirectory("opt-gptq-fuzz"), System.out);
        long seed = first;
        for (; seed < first + inputs && System.nanoTime() < end; seed++) {
            campaign.read(seed);
            if ((seed - first + 1) % 5000 == 0) {
                System.out.println("seeds " + first + " to " + seed + ": " + campaign.outcomes);
            }
        }
        System.out.println("read " + (seed - first) + " inputs, seeds " + first + " to " + (seed - 1) + ": "
                + campaign.outcomes + ", " + campaign.failures + " failures");
        System.exit(campaign.failures == 0 ? 0 : 1);
    }

    private void read(long seed) throws IOException {
        Kind kind = Kind.of(seed);
        Files.writeString(folder.resolveSibling("fuzz-seed.txt"), kind + " " + seed);
        seeds.writeTo(folder);
        mutate(kind, new Mutation(seed));
        long start = System.nanoTime();
        String outcome;
        try {
            open(kind);
            outcome = "understood";
        } catch (UserError e) {
            boolean explains = String.valueOf(e.getMessage()).length() >= 20;
            outcome = explains ? "refused" : failed(kind, seed, e);
        } catch (RuntimeException | Error e) {
            outcome = failed(kind, seed, e);
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        if (seconds > SLOW_SECONDS) {
            out.println(kind + ", seed " + seed + ": took " + seconds + " s");
            outcome = outcome + ", slow";
        }
        outcomes.merge(kind + " " + outcome, 1, Integer::sum);
    }

    private String failed(Kind kind, long seed, Throwable e) {
        failures++;
        out.println(kind + ", seed " + seed + ":");
        e.printStackTrace(out);
        return "failed";
    }

    private void mutate(Kind kind, Mutation mutation) throws IOException {
        switch (kind) {
            case HEADER -> {
                byte[] header = mutation.ofJson(Seeds.HEADER);
                byte[] file = ByteBuffer.allocate(8 + header.length + seeds.dataBytes()).order(ByteOrder.LITTLE_ENDIAN)
                        .putLong(header.length).put(header).array();
                Files.write(folder.resolve("model.safetensors"),
                        header.length % 7 == 0 ? mutation.ofBytes(file) : file);
            }
            case CONFIG -> Files.write(folder.resolve("config.json"), mutation.ofJson(Seeds.CONFIG));
            case INDEX -> Files.write(folder.resolve("model.safetensors.index.json"), mutation.ofJson(Seeds.INDEX));
            case PACKED -> {
                byte[] file = Files.readAllBytes(folder.resolve("model.safetensors"));
                byte[] data = mutation.ofBytes(Arrays.copyOfRange(file, file.length - seeds.dataBytes(), file.length));
                System.arraycopy(data, 0, file, file.length - seeds.dataBytes(),
                        Math.min(data.length, seeds.dataBytes()));
                Files.write(folder.resolve("model.safetensors"), file);
                Files.write(folder.resolve("quantize_config.json"), mutation.ofJson(Seeds.QUANTIZATION));
            }
            case TOKENIZER -> Files.write(folder.resolve("tokenizer.json"), mutation.ofJson(Seeds.TOKENIZER));
        }
    }

    private void open(Kind kind) {
        if (kind == Kind.TOKENIZER) {
            try (Tokenizer tokenizer = Tokenizer.load(folder)) {
                Objects.requireNonNull(tokenizer.decode(tokenizer.encode(TEXT)));
            }
            return;
        }
        try (ModelDirectory model = ModelDirectory.open(folder)) {
            model.quantization();
            model.packed("m");
            model.companions();
            Objects.requireNonNull(ModelSpec.resolve(model));
        }
    }
}
