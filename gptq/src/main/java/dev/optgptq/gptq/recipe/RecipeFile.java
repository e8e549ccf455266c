package dev.optgptq.gptq.recipe;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.api.lowlevel.Compose;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeTuple;
import org.snakeyaml.engine.v2.nodes.ScalarNode;
import org.snakeyaml.engine.v2.nodes.SequenceNode;

/**
 * Rules in a file, in YAML 1.2 or JSON, which is a part of it:
 *
 * <pre>
 *   override:
 *     '.*\.down_proj': { bits: 8, group: 64, sym: true }
 *   skip:
 *     - '.*\.layers\.0\..*'
 * </pre>
 */
final class RecipeFile {

    private static final int MOST_BYTES = 1 << 20;

    private final Path file;
    private final List<ModuleRule> rules = new ArrayList<>();

    private RecipeFile(Path file) {
        this.file = file;
    }

    /** Throws UserError BAD_SETTING naming the file and the line. */
    static Recipe read(Path file) {
        RecipeFile recipe = new RecipeFile(file);
        Node root = recipe.compose(recipe.text());
        for (NodeTuple entry : recipe.mapping(root, "override and skip").getValue()) {
            String key = recipe.scalar(entry.getKeyNode(), "override or skip");
            switch (key) {
                case "override" -> recipe.overrides(entry.getValueNode());
                case "skip" -> recipe.skips(entry.getValueNode());
                default -> throw recipe.wrong(entry.getKeyNode(), "override or skip", "'" + key + "'");
            }
        }
        return new Recipe(recipe.rules);
    }

    private String text() {
        try {
            if (Files.size(file) > MOST_BYTES) {
                throw new UserError(Code.BAD_SETTING,
                        file + ": expected a recipe of at most 1 MiB, found " + Files.size(file) + " bytes");
            }
            return Files.readString(file, StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UserError(Code.BAD_SETTING, file + ": expected a recipe in YAML or JSON that can be read, found "
                    + e + "; correct the path", e);
        }
    }

    private Node compose(String text) {
        try {
            return new Compose(LoadSettings.builder().setMaxAliasesForCollections(0).build()).composeString(text)
                    .orElseThrow(() -> new UserError(Code.BAD_SETTING,
                            file + ":1: expected rules under override and skip, found nothing"));
        } catch (MarkedYamlEngineException e) {
            int line = e.getProblemMark().map(mark -> mark.getLine() + 1).orElse(1);
            throw new UserError(Code.BAD_SETTING,
                    file + ":" + line + ": expected YAML or JSON, found an error: " + e.getProblem(), e);
        } catch (YamlEngineException e) {
            throw new UserError(Code.BAD_SETTING, file + ": expected YAML or JSON, found an error: " + e.getMessage(),
                    e);
        }
    }

    private void overrides(Node node) {
        for (NodeTuple entry : mapping(node, "patterns with their settings").getValue()) {
            String pattern = scalar(entry.getKeyNode(), "a pattern of module names");
            GridChange change = GridChange.NONE;
            for (NodeTuple setting : mapping(entry.getValueNode(), "settings such as { bits: 8, group: 64 }")
                    .getValue()) {
                change = change.with(scalar(setting.getKeyNode(), "bits, group or sym"),
                        scalar(setting.getValueNode(), "a value"), place(setting.getKeyNode()));
            }
            if (change.equals(GridChange.NONE)) {
                throw wrong(entry.getValueNode(), "settings such as { bits: 8, group: 64 }", "none");
            }
            rules.add(ModuleRule.of(pattern, change, place(entry.getKeyNode())));
        }
    }

    private void skips(Node node) {
        if (!(node instanceof SequenceNode patterns)) {
            throw wrong(node, "a list of patterns", words(node));
        }
        for (Node pattern : patterns.getValue()) {
            rules.add(ModuleRule.of(scalar(pattern, "a pattern of module names"), new ModuleRule.Skip(),
                    place(pattern)));
        }
    }

    private MappingNode mapping(Node node, String expected) {
        if (node instanceof MappingNode mapping) {
            return mapping;
        }
        throw wrong(node, expected, words(node));
    }

    private String scalar(Node node, String expected) {
        if (node instanceof ScalarNode scalar) {
            return scalar.getValue();
        }
        throw wrong(node, expected, words(node));
    }

    private static String words(Node node) {
        return switch (node) {
            case MappingNode _ -> "a mapping";
            case SequenceNode _ -> "a list";
            case ScalarNode scalar -> "'" + scalar.getValue() + "'";
            default -> "something else";
        };
    }

    /** "recipe.yaml:7". */
    private String place(Node node) {
        return file + ":" + node.getStartMark().map(mark -> mark.getLine() + 1).orElse(1);
    }

    private UserError wrong(Node node, String expected, String found) {
        return new UserError(Code.BAD_SETTING, place(node) + ": expected " + expected + ", found " + found);
    }
}
