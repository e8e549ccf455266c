package dev.optgptq.gptq.journal;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.files.InputFiles;
import dev.optgptq.formats.files.OutputDirectory;
import dev.optgptq.formats.files.OutputFiles;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * The finished parts of a run, in the working folder of its output: run.json holds the run's identity, NAME.json and
 * NAME.safetensors are a part. A part counts once its JSON exists, which is written last and atomically, and while both
 * files match the checksum in it.
 */
public final class Journal {

    /** Version of these files; others are refused. */
    private static final int FORMAT = 1;
    private static final String RUN_FILE = "run.json";
    private static final String TENSORS = ".safetensors";
    private static final String NOTE = ".json";

    private final OutputDirectory directory;
    private final Consumer<String> log;
    private @Nullable Identity identity;
    private @Nullable UserError problem;
    private final List<String> starts = new ArrayList<>();

    /**
     * Reads what an earlier run left, without checking its parts. If it is unreadable, problem() says why until
     * startOver() deletes it.
     *
     * @param log receives damaged parts
     */
    public Journal(OutputDirectory directory, Consumer<String> log) {
        this.directory = directory;
        this.log = log;
        Path file = directory.path().resolve(RUN_FILE);
        if (InputFiles.isThere(file)) {
            try {
                read(file);
            } catch (UserError e) {
                problem = e;
            }
        }
    }

    /** Why the files of an earlier run are unreadable: damaged, or of another version; empty if they can be read. */
    public Optional<UserError> problem() {
        return Optional.ofNullable(problem);
    }

    private void read(Path file) {
        ObjectNode json;
        try {
            json = Json.readObject(file, Code.OUTPUT);
        } catch (UserError e) {
            throw unknown(file, "something that is not a JSON object", e);
        }
        if (json.path("format").asInt(0) != FORMAT || !json.path("identity").isObject()
                || !json.path("starts").isArray()) {
            throw unknown(file, "another format", null);
        }
        identity = Identity.fromJson(json.path("identity"));
        json.path("starts").valueStream().map(JsonNode::asString).forEach(starts::add);
    }

    private static UserError unknown(Path file, String found, @Nullable Throwable cause) {
        return new UserError(Code.OUTPUT,
                file + ": expected the state of an interrupted run of this version, found " + found
                        + "; --fresh deletes it and starts over, or choose another output",
                cause);
    }

    /** What decided the earlier run; empty when there was none. */
    public Optional<Identity> identity() {
        return Optional.ofNullable(identity);
    }

    /** When the run began, and each time it was resumed; ISO 8601, UTC. */
    public List<String> starts() {
        return List.copyOf(starts);
    }

    /** The working folder. */
    public Path path() {
        return directory.path();
    }

    /** Deletes all parts: a run of this identity begins. */
    public void startOver(Identity what) {
        directory.clear();
        starts.clear();
        problem = null;
        identity = what;
    }

    /** Records that the run began or resumed at this time, and deletes what a killed run had half written. */
    public void begin(String time) {
        files().stream().filter(Journal::isHidden).forEach(Journal::delete);
        ArrayNode times = JsonNodeFactory.instance.arrayNode();
        starts.add(time);
        starts.forEach(times::add);
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.put("format", FORMAT);
        json.set("starts", times);
        json.set("identity", identity().orElseThrow().toJson());
        OutputFiles.replace(directory.path().resolve(RUN_FILE), Json.toBytes(json));
        directory.keep(!names().isEmpty());
    }

    /** The names of all parts, sorted, without checking them. */
    public List<String> names() {
        return files().stream().filter(file -> file.toString().endsWith(TENSORS) && !isHidden(file))
                .map(Journal::nameOf).filter(name -> Files.exists(noteOf(name))).sorted().toList();
    }

    /** Empty if the folder is gone: a shutdown hook deletes it when there is nothing to keep. */
    private List<Path> files() {
        try (Stream<Path> files = Files.list(directory.path())) {
            return files.toList();
        } catch (NoSuchFileException deleted) {
            return List.of();
        } catch (IOException e) {
            throw OutputFiles.failure(directory.path(), e);
        }
    }

    private static boolean isHidden(Path file) {
        return String.valueOf(file.getFileName()).startsWith(".");
    }

    private static String nameOf(Path tensors) {
        String file = String.valueOf(tensors.getFileName());
        return file.substring(0, file.length() - TENSORS.length());
    }

    /** The part of that name if it was finished and is unchanged; a damaged one is named in the log. */
    public Optional<Part> find(String name) {
        Path tensors = tensorsOf(name);
        Path note = noteOf(name);
        if (!Files.exists(note)) {
            return Optional.empty();
        }
        try {
            ObjectNode json = Json.readObject(note, Code.OUTPUT);
            if (json.path("note") instanceof ObjectNode content
                    && json.path("crc32c").asLong(-1) == Checksum.of(content, tensors)) {
                return Optional.of(new Part(name, tensors, content));
            }
        } catch (IOException | UserError e) {
            log.accept(tensors + ": cannot be read (" + e.getMessage() + "); this part is computed again");
            return Optional.empty();
        }
        log.accept(tensors + ": the checksum is not the one in " + note.getFileName()
                + ", the file was changed or the disk is damaged; this part is computed again");
        return Optional.empty();
    }

    /** Begins a part; its tensors can be written in any order. */
    public PartWriter begin(String name, List<TensorSpec> tensors) {
        return new PartWriter(this, name, new SafetensorsWriter(tensorsOf(name), tensors, Map.of()));
    }

    Part finish(String name, SafetensorsWriter tensors, ObjectNode note) {
        remove(name);
        tensors.finish();
        Path file = tensorsOf(name);
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        try {
            json.put("crc32c", Checksum.of(note, file));
        } catch (IOException e) {
            throw OutputFiles.failure(file, e);
        }
        json.set("note", note);
        // Before it counts: a process that is being stopped must not delete a part reported as finished.
        directory.keep(true);
        OutputFiles.replace(noteOf(name), Json.toBytes(json));
        return new Part(name, file, note);
    }

    /** Deletes a part, if it exists. */
    public void remove(String name) {
        try {
            // In this order, so that tensors are never paired with an older note.
            Files.deleteIfExists(noteOf(name));
            OutputFiles.syncDirectory(directory.path());
            Files.deleteIfExists(tensorsOf(name));
        } catch (IOException e) {
            throw OutputFiles.failure(tensorsOf(name), e);
        }
    }

    private static void delete(Path file) {
        try {
            Files.deleteIfExists(file);
        } catch (IOException e) {
            throw OutputFiles.failure(file, e);
        }
    }

    /** Size of the parts on disk, in bytes. */
    public long bytes() {
        return files().stream().map(Path::toFile).filter(File::isFile).mapToLong(File::length).sum();
    }

    private Path tensorsOf(String name) {
        return directory.path().resolve(name + TENSORS);
    }

    private Path noteOf(String name) {
        return directory.path().resolve(name + NOTE);
    }
}
