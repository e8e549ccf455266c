package dev.optgptq.formats.model;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.files.InputFiles;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.json.Json.Limit;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorView;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/** The opened safetensors files of a model directory: one file, or the shards that an index lists. */
final class WeightFiles implements AutoCloseable {

    static final String SINGLE_FILE = "model.safetensors";
    static final String INDEX_SUFFIX = ".safetensors.index.json";

    private final List<SafetensorsFile> files = new ArrayList<>();
    private final SequencedMap<String, TensorView> tensors = new LinkedHashMap<>();

    private WeightFiles() {}

    static WeightFiles open(Path directory) {
        WeightFiles weights = new WeightFiles();
        try {
            Path index = directory.resolve(ShardIndex.FILE_NAME);
            Path single = directory.resolve(SINGLE_FILE);
            if (InputFiles.isThere(index)) {
                weights.openShards(directory, index);
            } else if (InputFiles.isThere(single)) {
                weights.openFile(single);
            } else {
                weights.openOther(directory);
            }
            return weights;
        } catch (RuntimeException | Error e) {
            weights.close();
            throw e;
        }
    }

    /** Every tensor: files by name, in each the order of the data. */
    SequencedMap<String, TensorView> tensors() {
        return Collections.unmodifiableSequencedMap(tensors);
    }

    @Override
    public void close() {
        files.forEach(SafetensorsFile::close);
    }

    /** Quantizing tools name files after the method: gptq_model-4bit-128g.safetensors. A single one is unambiguous. */
    private void openOther(Path directory) {
        List<Path> indexes = matching(directory, "*" + INDEX_SUFFIX);
        List<Path> files = matching(directory, "*.safetensors");
        if (indexes.size() == 1) {
            openShards(directory, indexes.getFirst());
        } else if (indexes.isEmpty() && files.size() == 1) {
            requireNoAdapter(files.getFirst());
            openFile(files.getFirst());
        } else {
            throw noWeights(directory);
        }
    }

    private static void requireNoAdapter(Path file) {
        if (String.valueOf(file.getFileName()).startsWith("adapter_")) {
            throw new UserError(Code.UNSUPPORTED_MODEL, file + ": expected the weights of a model, found an adapter to"
                    + " them; merge it into its model first");
        }
    }

    private void openShards(Path directory, Path indexFile) {
        ShardIndex index = ShardIndex.of(Json.readObject(indexFile, Limit.INDEX, Code.BAD_MODEL), indexFile.toString());
        requireNoRival(directory, indexFile, index);
        for (String shard : index.shards()) {
            Path file = directory.resolve(shard);
            if (!InputFiles.isThere(file)) {
                throw bad(file + ": the shard is missing, " + indexFile.getFileName()
                        + " lists it; fetch the model again, all its files");
            }
            openFile(file).tensors().keySet().forEach(name -> requireListed(index, indexFile, name, file));
        }
        index.shardOf().forEach((name, shard) -> {
            if (!tensors.containsKey(name)) {
                throw bad(directory.resolve(shard) + ": expected tensor '" + name + "', which "
                        + indexFile.getFileName() + " places here, found no such tensor; fetch both files again");
            }
        });
    }

    private SafetensorsFile openFile(Path file) {
        SafetensorsFile opened = SafetensorsFile.open(file);
        files.add(opened);
        tensors.putAll(opened.tensors());
        return opened;
    }

    /**
     * A tensor that the index does not place in this shard is an error: loaders disagree about it (transformers and
     * vLLM load all tensors of a shard, others only listed ones), so the model would depend on the loader.
     */
    private static void requireListed(ShardIndex index, Path indexFile, String name, Path file) {
        String listed = index.shardOf().get(name);
        if (!file.getFileName().toString().equals(listed)) {
            throw bad(file + ": holds tensor '" + name + "', which " + indexFile.getFileName()
                    + (listed == null ? " does not list" : " places in " + listed)
                    + "; the files are of different versions, fetch the model again");
        }
    }

    /** transformers would read the single file, vLLM the shards: we do not guess which of the two is the model. */
    private static void requireNoRival(Path directory, Path indexFile, ShardIndex index) {
        if (InputFiles.isThere(directory.resolve(SINGLE_FILE)) && !index.shards().contains(SINGLE_FILE)) {
            throw bad(directory + ": expected either " + SINGLE_FILE + " or shards, found " + SINGLE_FILE + " and "
                    + indexFile.getFileName() + " that does not list it; remove the one that is out of date");
        }
    }

    private static UserError noWeights(Path directory) {
        List<String> others = matching(directory, "*.{bin,pt,pth,gguf,h5,msgpack,safetensors}").stream()
                .map(file -> String.valueOf(file.getFileName())).toList();
        return bad(
                directory + ": expected " + SINGLE_FILE + ", " + ShardIndex.FILE_NAME + " or one *.safetensors, found "
                        + (others.isEmpty() ? "no weights" : String.join(", ", others))
                        + "; only safetensors models are read, fetch or convert the model in that form");
    }

    /** Sorted by name, without hidden files. */
    private static List<Path> matching(Path directory, String glob) {
        List<Path> files = new ArrayList<>();
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(directory, glob)) {
            entries.forEach(files::add);
        } catch (IOException | DirectoryIteratorException e) {
            throw new UserError(Code.BAD_MODEL, directory + ": cannot be listed (" + e + "); check its permissions", e);
        }
        files.removeIf(file -> String.valueOf(file.getFileName()).startsWith("."));
        Collections.sort(files);
        return files;
    }

    private static UserError bad(String message) {
        return new UserError(Code.BAD_MODEL, message);
    }
}
