package dev.optgptq.gptq.recipe;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Regular expressions that match some linears of a model and no others, as configs of checkpoints name them. Runtimes match them from
 * the beginning of a name (Python's re.match), so all end in "$"; vLLM asks by the name of a fused module, which they match too.
 */
public final class ModulePatterns {

    /** What vLLM makes of linears beside each other (packed_modules_mapping in vllm/model_executor/models). */
    private static final Map<Set<String>, String> FUSED = Map.of(
            Set.of("q_proj", "k_proj", "v_proj"), "qkv_proj",
            Set.of("gate_proj", "up_proj"), "gate_up_proj",
            Set.of("q_a_proj", "kv_a_proj_with_mqa"), "fused_qkv_a_proj",
            Set.of("in_proj_qkv", "in_proj_z"), "in_proj_qkvz",
            Set.of("in_proj_b", "in_proj_a"), "in_proj_ba");
    private static final Pattern EXPERT = Pattern.compile("(.*\\bexperts)\\.\\d+\\.(.*)");

    private ModulePatterns() {}

    /** Of the linears of blocks that are wanted; one for each set of siblings, with all blocks that have it. */
    public static List<String> of(ModelSpec model, Predicate<LinearSpec> wanted) {
        Map<String, Set<String>> blocksOf = new LinkedHashMap<>();
        for (BlockSpec block : model.blockSpecs()) {
            for (List<LinearSpec> siblings : Together.gridsOf(block)) {
                List<LinearSpec> some = siblings.stream().filter(wanted).toList();
                if (!some.isEmpty()) {
                    blocksOf.computeIfAbsent(stem(block) + "#" + roles(some), pattern -> new LinkedHashSet<>())
                            .add(number(block));
                }
            }
        }
        List<String> patterns = new ArrayList<>();
        blocksOf.forEach((pattern, numbers) -> patterns.add(pattern.replace("#", numbers.size() == model.blocks()
                ? "\\d+\\."
                : numbers.size() == 1
                        ? numbers.iterator().next() + "\\."
                        : "(?:" + String.join("|", numbers) + ")\\.")
                + "$"));
        return patterns;
    }

    /** "model\.layers\." of the prefix "model.layers.3." */
    private static String stem(BlockSpec block) {
        return quote(block.prefix().substring(0, block.prefix().length() - number(block).length() - 1));
    }

    private static String number(BlockSpec block) {
        String path = block.prefix().substring(0, block.prefix().length() - 1);
        return path.substring(path.lastIndexOf('.') + 1);
    }

    /** Of siblings in one block, by their names in it. */
    private static String roles(List<LinearSpec> siblings) {
        Set<String> roles = new LinkedHashSet<>();
        for (LinearSpec linear : siblings) {
            var expert = EXPERT.matcher(linear.role());
            if (linear.expert() != LinearSpec.NO_EXPERT && expert.matches()) {
                roles.add(quote(expert.group(1)) + "\\.\\d+\\." + quote(expert.group(2)));
                roles.add(quote(expert.group(1)));
            } else {
                roles.add(quote(linear.role()));
            }
        }
        FUSED.forEach((parts, fused) -> parents(siblings).forEach((parent, names) -> {
            if (names.containsAll(parts)) {
                roles.add(quote(parent + fused));
            }
        }));
        return roles.size() == 1 ? roles.iterator().next() : "(?:" + String.join("|", roles) + ")";
    }

    private static Map<String, Set<String>> parents(List<LinearSpec> siblings) {
        return siblings.stream().filter(linear -> linear.expert() == LinearSpec.NO_EXPERT).map(LinearSpec::role)
                .collect(Collectors.groupingBy(role -> role.substring(0, role.lastIndexOf('.') + 1),
                        LinkedHashMap::new,
                        Collectors.mapping(role -> role.substring(role.lastIndexOf('.') + 1), Collectors.toSet())));
    }

    private static String quote(String name) {
        return name.replaceAll("[^A-Za-z0-9_]", "\\\\$0");
    }
}
