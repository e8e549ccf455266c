package dev.optgptq.gptq.recipe;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.packed.PackedGrid;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** What the rules of a recipe come to in a model. Linears that runtimes fuse are kept in step. */
public final class Resolution {

    private static final int EXAMPLES = 3;

    private final ModelSpec model;
    private final Recipe recipe;
    private final Map<String, PackedGrid> own = new LinkedHashMap<>();
    private final Set<String> skipped = new HashSet<>();
    private final Set<String> fixedBits = new HashSet<>();
    private final Set<ModuleRule> matched = new HashSet<>();
    /** Names within a block of what a rule covers although its pattern does not match it, and how many modules these are. */
    private final Map<ModuleRule, Set<String>> extended = new LinkedHashMap<>();
    private final Map<ModuleRule, Integer> extensions = new LinkedHashMap<>();

    private Resolution(ModelSpec model, Recipe recipe) {
        this.model = model;
        this.recipe = recipe;
    }

    /**
     * The grid of every linear.
     *
     * @param grids of all linears
     * @param remarks sentences: which rules cover more modules than their patterns match
     * @param fixedBits modules whose bits a rule names
     */
    public record Resolved(ModuleGrids grids, List<String> remarks, Set<String> fixedBits) {}

    /**
     * Finds it.
     *
     * @param common of linears that no rule names
     * @param byActivity whether groups are by activity where there is more than one
     * @throws UserError BAD_SETTING for a rule that matches nothing, or two that contradict
     */
    public static Resolved of(ModelSpec model, PackedGrid common, Recipe recipe, boolean byActivity) {
        Resolution resolution = new Resolution(model, recipe);
        for (BlockSpec block : model.blockSpecs()) {
            Together.gridsOf(block).forEach(linears -> resolution.resolve(linears, common));
        }
        resolution.requireMatches();
        return new Resolved(ModuleGrids.of(model, common, resolution.own, resolution.skipped, byActivity),
                resolution.remarks(), Set.copyOf(resolution.fixedBits));
    }

    private void resolve(List<LinearSpec> ofOneGrid, PackedGrid common) {
        List<LinearSpec> quantized = new ArrayList<>();
        for (List<LinearSpec> fused : Together.fused(ofOneGrid)) {
            if (!skip(fused)) {
                quantized.addAll(fused);
            }
        }
        GridChange change = GridChange.NONE;
        Map<ModuleRule, GridChange> changes = new LinkedHashMap<>();
        for (ModuleRule rule : rules(quantized)) {
            if (rule.action() instanceof GridChange wanted) {
                changes.forEach((other, of) -> requireAgreement(!wanted.contradicts(of), other, rule, quantized));
                changes.put(rule, wanted);
                change = change.and(wanted);
                extend(rule, quantized);
            }
        }
        if (!changes.isEmpty()) {
            PackedGrid grid = change.of(common);
            quantized.forEach(linear -> own.put(linear.module(), grid));
            if (change.bits() != null) {
                quantized.forEach(linear -> fixedBits.add(linear.module()));
            }
        }
    }

    /** Whether these are skipped. */
    private boolean skip(List<LinearSpec> fused) {
        List<ModuleRule> rules = rules(fused);
        List<ModuleRule> skips = rules.stream().filter(rule -> rule.action() instanceof ModuleRule.Skip).toList();
        if (skips.isEmpty()) {
            return false;
        }
        rules.stream().filter(rule -> rule.action() instanceof GridChange)
                .forEach(rule -> requireAgreement(false, skips.getFirst(), rule, fused));
        skips.forEach(rule -> extend(rule, fused));
        fused.forEach(linear -> skipped.add(linear.module()));
        return true;
    }

    /** Those that match any of them. */
    private List<ModuleRule> rules(List<LinearSpec> linears) {
        List<ModuleRule> found = recipe.rules().stream().filter(rule -> linears.stream().anyMatch(rule::matches))
                .toList();
        matched.addAll(found);
        return found;
    }

    private void extend(ModuleRule rule, List<LinearSpec> linears) {
        linears.stream().filter(linear -> !rule.matches(linear)).forEach(linear -> {
            extended.computeIfAbsent(rule, first -> new TreeSet<>())
                    .add(linear.expert() == LinearSpec.NO_EXPERT ? linear.role() : "other experts");
            extensions.merge(rule, 1, Integer::sum);
        });
    }

    private static void requireAgreement(boolean agree, ModuleRule one, ModuleRule other, List<LinearSpec> linears) {
        if (agree) {
            return;
        }
        LinearSpec first = linears.stream().filter(one::matches).findFirst().orElseThrow();
        String where = other.matches(first)
                ? first.module()
                : first.module() + " and " + linears.stream().filter(other::matches).findFirst().orElseThrow().module()
                        + ", which have one grid because they read the same input or are experts of one layer";
        throw new UserError(Code.BAD_SETTING,
                one + " and " + other + " contradict each other for " + where + "; let one of them match less");
    }

    private void requireMatches() {
        for (ModuleRule rule : recipe.rules()) {
            if (!matched.contains(rule)) {
                List<String> names = model.linears(0).stream().limit(EXAMPLES).map(LinearSpec::module).toList();
                throw new UserError(Code.BAD_SETTING, rule.source() + ": the pattern '" + rule.pattern()
                        + "' matches no linear of a block; it has to match the whole name of one, such as "
                        + String.join(", ", names));
            }
        }
    }

    private List<String> remarks() {
        return extended.entrySet().stream()
                .map(entry -> entry.getKey() + " also covers " + String.join(", ", entry.getValue()) + " ("
                        + extensions.get(entry.getKey())
                        + " modules), which runtimes fuse with what it names, or which "
                        + "read the same input")
                .toList();
    }
}
