package dev.optgptq.calibrate.data;

import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.formats.UserError;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * Text of the user's choice, or a bundled one.
 *
 * @param files none for the bundled one
 * @param bundled which
 */
public record Corpus(List<WeightedFile> files, Bundled bundled, DocumentForm form) {

    /** The texts that come with the program. */
    public enum Bundled {
        CALIBRATION, EVALUATION
    }

    public Corpus {
        files = List.copyOf(files);
    }

    /** @param words as WeightedFile.parse reads them; none for the bundled text */
    public static Corpus of(List<String> words, Bundled bundled, DocumentForm form) {
        return new Corpus(words.stream().map(WeightedFile::parse).toList(), bundled, form);
    }

    /** @param file null for the bundled text */
    public static Corpus of(@Nullable Path file, Bundled bundled, DocumentForm form) {
        return new Corpus(file == null ? List.of() : List.of(new WeightedFile(file, 1)), bundled, form);
    }

    /** A file in its usual form; null for the bundled text. */
    public static Corpus calibration(@Nullable Path file) {
        return of(file, Bundled.CALIBRATION, DocumentForm.DEFAULT);
    }

    /** Another text in the same form. */
    public Corpus evaluation(@Nullable Path file) {
        return of(file, Bundled.EVALUATION, form);
    }

    /** Of the user. */
    public List<Path> paths() {
        return files.stream().map(WeightedFile::file).toList();
    }

    /** Whether a file holds records, by its name; plain text has none. */
    public static boolean holdsRecords(Path file) {
        return Documents.holdsRecords(file);
    }

    public boolean isBundled() {
        return files.isEmpty();
    }

    /** For people and reports. */
    @Override
    public String toString() {
        return isBundled()
                ? "bundled"
                : files.stream().map(one -> one.file() + (one.weight() == 1 ? "" : ":" + weight(one.weight())))
                        .collect(Collectors.joining(" "));
    }

    private static String weight(double weight) {
        return weight == Math.rint(weight) ? String.valueOf((long) weight) : String.valueOf(weight);
    }

    /**
     * Draws calibration sequences, of each file as many as its weight says, spread evenly. Throws UserError BAD_TEXT with
     * the number of tokens found and needed.
     *
     * @param seed of RANDOM; SEQUENTIAL ignores it
     */
    public TokenSequences sample(DocumentTokens tokens, Sampling sampling, int count, int length, long seed) {
        int drawn = tokens.textLength(length);
        if (isBundled()) {
            return tokens.marked(sample(new Sampler(tokens, count, drawn, name()), text(), sampling, seed));
        }
        int[] counts = Mixture.counts(weights(), count);
        TokenSequences[] parts = new TokenSequences[counts.length];
        for (int i = 0; i < counts.length; i++) {
            Path file = files.get(i).file();
            if (counts[i] == 0) {
                throw new UserError(UserError.Code.BAD_SETTING, file + ": its weight gives it none of " + count
                        + " sequences; raise its weight, or --samples");
            }
            try (Documents documents = Documents.open(file, form.field())) {
                Sampler sampler = new Sampler(tokens, counts[i], drawn, file.toString());
                parts[i] = switch (documents) {
                    case Documents.Whole whole -> sample(sampler, whole.text(), sampling, seed + i);
                    case JsonLines lines -> sample(sampler, lines, sampling, seed + i);
                };
            }
        }
        return tokens.marked(Mixture.spread(parts));
    }

    private static TokenSequences sample(Sampler sampler, String text, Sampling sampling, long seed) {
        return switch (sampling) {
            case SEQUENTIAL -> sampler.first(text);
            case RANDOM -> sampler.random(text, seed);
        };
    }

    private TokenSequences sample(Sampler sampler, JsonLines lines, Sampling sampling, long seed) {
        return switch (sampling) {
            case SEQUENTIAL -> sampler.first(lines);
            case RANDOM -> form.pack() ? sampler.packed(lines, seed) : sampler.random(lines, seed);
        };
    }

    /**
     * Non-overlapping windows of all text, the tail dropped; at least one, else UserError BAD_TEXT. Of several files as
     * many as their weights allow.
     */
    public TokenSequences windows(DocumentTokens tokens, int length) {
        int taken = tokens.textLength(length);
        if (isBundled()) {
            return tokens.marked(TokenSequences.windows(tokens.of(text()), name(), taken));
        }
        TokenSequences[] parts = new TokenSequences[files.size()];
        for (int i = 0; i < parts.length; i++) {
            Path file = files.get(i).file();
            try (Documents documents = Documents.open(file, form.field())) {
                int[] stream = switch (documents) {
                    case Documents.Whole whole -> tokens.of(whole.text());
                    case JsonLines lines -> tokens.all(lines);
                };
                parts[i] = TokenSequences.windows(stream, file.toString(), taken);
            }
        }
        return tokens.marked(Mixture.spread(Mixture.shares(weights(), parts)));
    }

    private double[] weights() {
        return files.stream().mapToDouble(WeightedFile::weight).toArray();
    }

    private String text() {
        return switch (bundled) {
            case CALIBRATION -> BundledText.calibration();
            case EVALUATION -> BundledText.evaluation();
        };
    }

    private String name() {
        return switch (bundled) {
            case CALIBRATION -> "the bundled calibration text";
            case EVALUATION -> "the bundled evaluation text";
        };
    }
}
