package dev.optgptq.gptq.recipe;

import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.QuantizationConfig;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The rules of a run, in the order they were given. Order decides nothing: rules that contradict each other are refused.
 */
public record Recipe(List<ModuleRule> rules) {

    /** No rules: all modules are quantized alike. */
    public static final Recipe NONE = new Recipe(List.of());

    public Recipe {
        rules = List.copyOf(rules);
    }

    /**
     * Those of the command line.
     *
     * @param overrides "PATTERN=bits:8,group:64,sym:false" each
     * @param skips "PATTERN" each
     * @throws UserError BAD_SETTING for one that is not read
     */
    public static Recipe of(List<String> overrides, List<String> skips) {
        List<ModuleRule> rules = new ArrayList<>();
        for (String override : overrides) {
            String source = "--override '" + override + "'";
            // A pattern may hold '=' too: (?=...)
            int equals = override.lastIndexOf('=');
            if (equals < 0) {
                throw new UserError(Code.BAD_SETTING,
                        source + ": expected PATTERN=bits:N,group:N,sym:true|false, found no '='");
            }
            rules.add(ModuleRule.of(override.substring(0, equals), change(override.substring(equals + 1), source),
                    source));
        }
        skips.forEach(skip -> rules.add(ModuleRule.of(skip, new ModuleRule.Skip(), "--skip '" + skip + "'")));
        return new Recipe(rules);
    }

    /** Those that a format brings along: experts of SlimQuant have 4 bits. Throws UserError BAD_SETTING where there are none. */
    public static Recipe of(CheckpointFormat format, ModelSpec model) {
        if (format != CheckpointFormat.SLIMQUANT) {
            return NONE;
        }
        if (model.blockSpecs().stream().noneMatch(block -> block.feedForward() instanceof FeedForward.Experts)) {
            throw new UserError(Code.BAD_SETTING, "--format slimquant: expected a mixture of experts, whose experts it"
                    + " holds in 4 bits, found a model without; use --format w8a8");
        }
        String source = "--format " + format;
        return new Recipe(List.of(ModuleRule.of(QuantizationConfig.EXPERTS + ".*", change("bits:4", source), source)));
    }

    /** Those of a file in YAML or JSON. Throws UserError BAD_SETTING naming the file and the line. */
    public static Recipe read(Path file) {
        return RecipeFile.read(file);
    }

    private static GridChange change(String settings, String source) {
        GridChange change = GridChange.NONE;
        for (String setting : settings.split(",", -1)) {
            int colon = setting.indexOf(':');
            if (colon < 0) {
                throw new UserError(Code.BAD_SETTING,
                        source + ": expected settings such as bits:8,group:64,sym:false, found '" + setting + "'");
            }
            change = change.with(setting.substring(0, colon).strip(), setting.substring(colon + 1).strip(), source);
        }
        return change;
    }

    /** These rules and those of another. */
    public Recipe and(Recipe other) {
        List<ModuleRule> all = new ArrayList<>(rules);
        all.addAll(other.rules);
        return new Recipe(all);
    }

    public boolean isEmpty() {
        return rules.isEmpty();
    }
}
