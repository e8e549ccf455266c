package dev.optgptq.calibrate.data;

import dev.optgptq.formats.UserError;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A file of text.
 *
 * @param weight its part of all sequences, in proportion to those of other files
 */
public record WeightedFile(Path file, double weight) {

    private static final Pattern WEIGHTED = Pattern.compile("(.+):([0-9]{1,9}(?:\\.[0-9]{1,9})?)");

    /** "train.jsonl" or "train.jsonl:2". UserError BAD_SETTING for a weight of 0. */
    public static WeightedFile parse(String word) {
        Matcher weighted = WEIGHTED.matcher(word);
        if (!weighted.matches() || Files.exists(Path.of(word))) {
            return new WeightedFile(Path.of(word), 1);
        }
        double weight = Double.parseDouble(weighted.group(2));
        if (weight == 0) {
            throw new UserError(UserError.Code.BAD_SETTING, word + ": expected a weight above 0, found 0; leave the "
                    + "file out, or give it a weight");
        }
        return new WeightedFile(Path.of(weighted.group(1)), weight);
    }
}
