package dev.optgptq.gptq.serving;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.formats.packed.QuantizationConfig.ModuleGrid;
import dev.optgptq.formats.packed.QuantizationConfig;
import java.util.Optional;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * What a runtime loads, by the rules in its file: a rule counts where its "when" holds, and "requires" that settings have one of some
 * values, or of "each" linear that a size divides. A fact is called as in {@link #facts}.
 *
 * @param ranks of tensor parallelism; 1 for none
 */
public record Target(TargetName runtime, int ranks, ObjectNode rules) {

    /** Reads the rules. Throws UserError BAD_SETTING for several ranks where the runtime has none. */
    public static Target of(TargetName runtime, int ranks) {
        Target target = new Target(runtime, ranks,
                Json.bundled(Target.class, "/dev/optgptq/gptq/targets/" + runtime + ".json"));
        if (ranks > 1 && !target.rules.path("shards").booleanValue()) {
            throw new UserError(Code.BAD_SETTING, "--tensor-parallel: expected 1 with --target " + runtime
                    + ", of whose shards no rules are known, found " + ranks);
        }
        return target;
    }

    /** Throws UserError BAD_SETTING naming the first rule that is broken, its source and the nearest setting. */
    public void check(QuantizationConfig quantization, ModelSpec model) {
        for (JsonNode rule : rules.path("rules")) {
            check(rule, facts(quantization, quantization.grids().getFirst()), "");
            for (ModuleGrid module : quantization.modules()) {
                QuantizationConfig own = quantization.forGrid(module);
                check(rule, facts(quantization, own.grids().getFirst()), " in the modules " + module.pattern());
            }
            if (rule.path("each").isObject()) {
                for (int block = 0; block < model.blocks(); block++) {
                    model.linears(block).stream().filter(linear -> !quantization.isPlain(linear.module()))
                            .forEach(linear -> check(rule, linear, quantization));
                }
            }
        }
    }

    /** @param where it is, after what is found */
    private void check(JsonNode rule, ObjectNode facts, String where) {
        if (!holds(rule.path("when"), facts)) {
            return;
        }
        rule.path("requires").propertyStream().forEach(entry -> {
            if (!contains(entry.getValue(), facts.path(entry.getKey()))) {
                throw broken(rule, entry.getKey() + " one of " + words(entry.getValue()),
                        facts.path(entry.getKey()).asString() + where);
            }
        });
    }

    private void check(JsonNode rule, LinearSpec linear, QuantizationConfig quantization) {
        QuantizationConfig grid = quantization.forModule(linear.module());
        int group = grid.groupSize() == QuantizationConfig.ONE_GROUP ? linear.inputs() : grid.groupSize();
        rule.path("each").propertyStream().forEach(entry -> {
            boolean wholeRows = grid.groupSize() == QuantizationConfig.ONE_GROUP && entry.getValue().isString();
            int by = wholeRows ? 1 : entry.getValue().isString() ? group : entry.getValue().intValue();
            int size = size(entry.getKey(), linear, group);
            if (size % by != 0) {
                throw broken(rule, linear.module() + " with " + words(entry.getKey()) + " in multiples of " + by,
                        String.valueOf(size));
            }
        });
    }

    /** Where a linear is split over ranks: the second of a pair by its inputs, the first by its outputs. */
    private int size(String what, LinearSpec linear, int group) {
        boolean byInputs = switch (linear.site().kind()) {
            case ATTENTION_OUTPUT, MLP_OUTPUT, EXPERT_OUTPUT -> true;
            case ATTENTION_INPUT, QUERY_LATENT, KEY_VALUE_LATENT, MLP_INPUT, EXPERT_INPUT -> false;
        };
        return switch (what) {
            case "shardInputs" -> byInputs ? shard(linear.module(), "inputs", linear.inputs()) : linear.inputs();
            case "shardOutputs" -> byInputs ? linear.outputs() : shard(linear.module(), "outputs", linear.outputs());
            case "group" -> group;
            default -> throw new IllegalStateException("no size of a linear is called " + what);
        };
    }

    private int shard(String module, String what, int size) {
        if (size % ranks != 0) {
            throw new UserError(Code.BAD_SETTING,
                    "--tensor-parallel " + ranks + ": " + module + " has " + size + " " + what
                            + ", which are not divided evenly; use a divisor of them");
        }
        return size / ranks;
    }

    private static String words(String size) {
        return switch (size) {
            case "shardInputs" -> "the inputs of a rank";
            case "shardOutputs" -> "the outputs of a rank";
            default -> "the inputs of a group";
        };
    }

    /** The kernel that will run, where it is known. */
    public Optional<String> kernel(QuantizationConfig quantization) {
        ObjectNode facts = facts(quantization, quantization.grids().getFirst());
        for (JsonNode kernel : rules.path("kernels")) {
            if (holds(kernel.path("when"), facts)) {
                return Optional.of(kernel.path("kernel").stringValue());
            }
        }
        return Optional.empty();
    }

    /** The settings by the names that rules have for them. */
    private ObjectNode facts(QuantizationConfig quantization, PackedGrid grid) {
        ObjectNode facts = JsonNodeFactory.instance.objectNode();
        facts.put("format", quantization.format().label());
        facts.put("bits", grid.bits());
        facts.put("groupSize", grid.groupSize());
        facts.put("symmetric", grid.symmetric());
        facts.put("descAct", grid.descAct());
        facts.put("sharded", ranks > 1);
        facts.put("perModule", !quantization.modules().isEmpty() || !quantization.plain().isEmpty());
        return facts;
    }

    private static boolean holds(JsonNode when, ObjectNode facts) {
        return when.propertyStream().allMatch(entry -> contains(entry.getValue(), facts.path(entry.getKey())));
    }

    private static boolean contains(JsonNode values, JsonNode value) {
        if (value.isMissingNode()) {
            throw new IllegalStateException("a rule asks for a fact that there is none of, among " + values);
        }
        return values.valueStream().anyMatch(value::equals);
    }

    private static String words(JsonNode values) {
        return values.valueStream().map(JsonNode::asString).collect(Collectors.joining(", "));
    }

    private UserError broken(JsonNode rule, String expected, String found) {
        return new UserError(Code.BAD_SETTING,
                "--target " + runtime + ": expected " + expected + ", found " + found + " (rule '"
                        + rule.path("name").stringValue() + "': " + rule.path("source").stringValue() + ", "
                        + rule.path("date").stringValue() + "); use " + rule.path("nearest").stringValue());
    }
}
