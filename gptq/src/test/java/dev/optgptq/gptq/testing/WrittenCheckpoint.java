package dev.optgptq.gptq.testing;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Reads a checkpoint as another program would: by the specifications of safetensors and of the GPTQ format alone, with
 * none of this project's code.
 */
public record WrittenCheckpoint(Path folder, Map<String, Entry> tensors) {

    private static final JsonMapper JSON = new JsonMapper();

    /** @param file name of the file it was found in */
    public record Entry(String file, String dtype, int[] shape, byte[] data) {

        ByteBuffer bytes() {
            return ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        }

        /** The values of a tensor of float16, bfloat16 or float32. */
        public float[] floats() {
            float[] values = new float[Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
            ByteBuffer from = bytes();
            for (int i = 0; i < values.length; i++) {
                values[i] = switch (dtype) {
                    case "F16" -> Float.float16ToFloat(from.getShort());
                    case "BF16" -> Float.intBitsToFloat(from.getShort() << 16);
                    case "F32" -> from.getFloat();
                    default -> throw new AssertionError(dtype + " is no float");
                };
            }
            return values;
        }

        /** The values of an int32 tensor. */
        public int[] ints() {
            if (!dtype.equals("I32")) {
                throw new AssertionError("expected I32, found " + dtype);
            }
            int[] values = new int[data.length / Integer.BYTES];
            bytes().asIntBuffer().get(values);
            return values;
        }

        /** "I32 [16, 128]". */
        public String layout() {
            return dtype + " " + Arrays.toString(shape);
        }
    }

    /** Reads every weight file of a folder. */
    public static WrittenCheckpoint read(Path folder) {
        Map<String, Entry> tensors = new TreeMap<>();
        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : files.filter(path -> path.toString().endsWith(".safetensors")).toList()) {
                readFile(file, tensors);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return new WrittenCheckpoint(folder, tensors);
    }

    private static void readFile(Path file, Map<String, Entry> tensors) throws IOException {
        byte[] all = Files.readAllBytes(file);
        int header = (int) ByteBuffer.wrap(all).order(ByteOrder.LITTLE_ENDIAN).getLong();
        JsonNode entries = JSON.readTree(new String(all, Long.BYTES, header, StandardCharsets.UTF_8));
        entries.forEachEntry((name, entry) -> {
            if (!name.equals("__metadata__")) {
                int from = Long.BYTES + header + entry.get("data_offsets").get(0).asInt();
                int to = Long.BYTES + header + entry.get("data_offsets").get(1).asInt();
                int[] shape = entry.get("shape").valueStream().mapToInt(JsonNode::asInt).toArray();
                Entry twice = tensors.put(name, new Entry(String.valueOf(file.getFileName()),
                        entry.get("dtype").asString(), shape, Arrays.copyOfRange(all, from, to)));
                if (twice != null) {
                    throw new AssertionError(name + " is there twice");
                }
            }
        });
    }

    public JsonNode json(String file) {
        try {
            return JSON.readTree(Files.readString(folder.resolve(file)));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Names of the quantized linears. */
    public String[] modules() {
        return tensors.keySet().stream().filter(name -> name.endsWith(".qweight"))
                .map(name -> name.substring(0, name.length() - ".qweight".length())).toArray(String[]::new);
    }

    public Entry tensor(String name) {
        Entry entry = tensors.get(name);
        if (entry == null) {
            throw new AssertionError("no tensor " + name + " among " + tensors.keySet());
        }
        return entry;
    }

    /**
     * W[o, i] = scales[g_idx[i], o] * (code[i, o] - zero[g_idx[i], o]), row-major [out, in]; bits and the version of the
     * zero points are those of the config.
     */
    public float[] dequantized(String module) {
        JsonNode config = json("config.json").get("quantization_config");
        int bits = config.get("bits").asInt();
        int stored = config.get("checkpoint_format").asString().equals("gptq") ? 1 : 0;
        Entry scalesEntry = tensor(module + ".scales");
        float[] scales = scalesEntry.floats();
        int[] gIdx = tensor(module + ".g_idx").ints();
        int[] qweight = tensor(module + ".qweight").ints();
        int[] qzeros = tensor(module + ".qzeros").ints();
        int inputs = gIdx.length;
        int outputs = scalesEntry.shape()[1];
        float[] weight = new float[outputs * inputs];
        for (int o = 0; o < outputs; o++) {
            int output = o;
            int[] column = IntStream.range(0, inputs * bits / 32).map(r -> qweight[r * outputs + output]).toArray();
            for (int i = 0; i < inputs; i++) {
                int group = gIdx[i];
                int[] row = Arrays.copyOfRange(qzeros, group * outputs * bits / 32, (group + 1) * outputs * bits / 32);
                int zero = field(row, bits, o) + stored;
                weight[o * inputs + i] = scales[group * outputs + o] * (field(column, bits, i) - zero);
            }
        }
        return weight;
    }

    /** Number {@code index} of a stream of fields, the lowest bits of the first word first. */
    private static int field(int[] words, int bits, int index) {
        int value = 0;
        for (int b = 0; b < bits; b++) {
            int at = index * bits + b;
            value |= (words[at / 32] >>> (at % 32) & 1) << b;
        }
        return value;
    }
}
