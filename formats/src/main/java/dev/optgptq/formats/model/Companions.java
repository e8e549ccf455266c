package dev.optgptq.formats.model;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.List;
import java.util.stream.Stream;

/**
 * The files beside the weights that belong to a model whatever its weights are. A list of what is known to belong, not of
 * what does not: a directory may hold anything, and an unknown file is not ours to publish in the output.
 */
final class Companions {

    /**
     * Tokenizer in all its forms, generation settings, chat templates, processors of multimodal models, remote code, and
     * the licence, which must travel with the weights. Not the model card: it describes the source model.
     */
    private static final List<PathMatcher> PATTERNS = Stream
            .of("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.{json,txt}", "merges.txt",
                    "*.model", "*.tiktoken", "generation_config.json", "chat_template*", "*.jinja",
                    "{preprocessor,processor}_config.json", "*.py", "{LICENSE,LICENCE,NOTICE,USE_POLICY}*")
            .map(glob -> FileSystems.getDefault().getPathMatcher("glob:" + glob)).toList();

    private Companions() {}

    /** The companions in a directory, sorted by name. */
    static List<Path> in(Path directory) {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.filter(Companions::matches).filter(Files::isRegularFile).sorted().toList();
        } catch (IOException e) {
            throw new UserError(Code.BAD_MODEL, directory + ": cannot be listed (" + e + "); check its permissions", e);
        }
    }

    private static boolean matches(Path file) {
        return PATTERNS.stream().anyMatch(pattern -> pattern.matches(file.getFileName()));
    }
}
