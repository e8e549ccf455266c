package dev.optgptq.formats.model;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.List;
import java.util.stream.Stream;

/** Keeps a command's results from overwriting files of a model. */
public final class ModelFiles {

    /** The .json files that a model directory may hold; others are results. */
    private static final List<PathMatcher> MODEL_JSON = Stream
            .of("config.json", "*_config.json", "*.index.json", "tokenizer*.json", "*_map.json", "*_tokens.json",
                    "vocab*.json",
                    "chat_template*.json", "modules.json")
            .map(glob -> FileSystems.getDefault().getPathMatcher("glob:" + glob)).toList();

    private ModelFiles() {}

    /** Throws UserError OUTPUT if a report of that name would replace a file of a model. */
    public static void requireNone(Path report) {
        if (Files.exists(report) && Stream.of(report, real(report))
                .anyMatch(file -> isOfModel(file) && liesInModel(file))) {
            throw new UserError(Code.OUTPUT, report + ": expected a name for a report, found a file of the model there;"
                    + " choose another");
        }
    }

    /** Throws UserError OUTPUT if tensors of that name would be read as weights of a model, or replace them. */
    public static void requireNoWeights(Path tensors) {
        requireNone(tensors);
        if (liesInModel(tensors)) {
            throw new UserError(Code.OUTPUT, tensors + ": expected a place beside no model, found the directory of one,"
                    + " where loaders would take the file for weights; choose another directory");
        }
    }

    private static boolean isOfModel(Path file) {
        Path name = file.getFileName();
        String text = String.valueOf(name);
        return text.endsWith(".json")
                ? MODEL_JSON.stream().anyMatch(pattern -> pattern.matches(name))
                : !text.endsWith(".html") && !text.endsWith(".xml");
    }

    private static boolean liesInModel(Path file) {
        return Files.exists(file.toAbsolutePath().resolveSibling(ModelDirectory.CONFIG_FILE));
    }

    private static Path real(Path file) {
        try {
            return file.toRealPath();
        } catch (IOException e) {
            throw new UserError(Code.OUTPUT, file + ": cannot be followed (" + e + "); choose another name", e);
        }
    }
}
