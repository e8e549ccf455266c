package dev.optgptq.gptq.bench.plan;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.json.Json;
import dev.optgptq.gptq.bench.ModelShape;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;

/**
 * The rates of one card, per second, from what {@code bench --shape --json} measured of a whole job on it.
 *
 * @param device its description
 * @param products matmul dtype of the forward pass
 * @param forward operations of the forward pass
 * @param hessian operations of the Hessians
 * @param errors operations of solving, without the inverse factors
 * @param factors seconds of an inverse factor, by its size
 * @param upload bytes of weights to the card
 * @param write bytes of packed weights that writing waits for
 * @param verify bytes of packed weights read back and compared
 */
public record CardRates(String device, DType products, double forward, double hessian, double errors,
        TreeMap<Integer, Double> factors, double upload, double write, double verify) {

    private static final String BUNDLED = "h200.json";
    private static final Pattern SQUARE = Pattern.compile("\\[(\\d+), \\d+\\]");

    /** One NVIDIA H200, measured at Llama-2-7B's shape on 2026-11-30. */
    public static CardRates bundled() {
        try (InputStream in = CardRates.class.getResourceAsStream(BUNDLED)) {
            if (in == null) {
                throw new IllegalStateException("no resource " + BUNDLED);
            }
            return of(Json.parseObject(new String(in.readAllBytes(), StandardCharsets.UTF_8), BUNDLED, Code.BAD_TEXT),
                    BUNDLED);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Throws UserError BAD_TEXT for a file that is not one of a whole job. */
    public static CardRates read(Path file) {
        return of(Json.readObject(file, Code.BAD_TEXT), file.toString());
    }

    private static CardRates of(JsonNode json, String file) {
        TreeMap<Integer, Double> factors = new TreeMap<>();
        for (JsonNode op : json.path("ops").values()) {
            Matcher size = SQUARE.matcher(op.path("size").asString(""));
            if (op.path("name").asString("").equals("inverseFactor") && size.matches()) {
                factors.put(Integer.parseInt(size.group(1)), op.path("seconds").asDouble());
            }
        }
        Map<String, double[]> job = new TreeMap<>();
        for (JsonNode phase : json.path("job").values()) {
            job.put(phase.path("name").asString(""),
                    new double[] {phase.path("seconds").asDouble(), phase.path("operations").asDouble()});
        }
        if (factors.isEmpty() || !job.keySet().containsAll(List.of("forward", "hessian", "solve", "write", "verify"))) {
            throw new UserError(Code.BAD_TEXT, file + ": expected what opt-gptq bench --shape NAME --json FILE writes");
        }
        ModelSpec spec = ModelShape.of(json.path("shape").asString("")).spec();
        double factoring = 0;
        for (BlockSpec block : spec.blockSpecs()) {
            for (InputSite site : block.sites()) {
                factoring += seconds(factors, block.inputs(site));
            }
        }
        double[] solve = job.getOrDefault("solve", new double[2]);
        double packed = PackedBytes.of(spec);
        return new CardRates(json.path("deviceDescription").asString(""),
                DType.valueOf(json.path("products").asString("BF16")), rate(job, "forward"), rate(job, "hessian"),
                solve[1] / Math.max(solve[0] - factoring, 0.1 * solve[0]), factors,
                json.path("rates").path("upload").asDouble(),
                packed / job.getOrDefault("write", new double[2])[0],
                packed / job.getOrDefault("verify", new double[2])[0]);
    }

    private static double rate(Map<String, double[]> job, String phase) {
        double[] of = job.getOrDefault(phase, new double[2]);
        return of[1] / of[0];
    }

    /** Seconds of the inverse factor of n inputs. */
    double factor(int n) {
        return seconds(factors, n);
    }

    /** Between measured sizes by the power that joins them; beyond the largest, and below the smallest, by n^3. */
    private static double seconds(TreeMap<Integer, Double> factors, int n) {
        Map.Entry<Integer, Double> below = factors.floorEntry(n);
        Map.Entry<Integer, Double> above = factors.ceilingEntry(n);
        if (below == null || above == null || below.getKey().equals(above.getKey())) {
            Map.Entry<Integer, Double> only = below == null ? above : below;
            if (only == null) {
                throw new IllegalStateException("no inverse factor was measured");
            }
            return only.getValue() * Math.pow((double) n / only.getKey(), 3);
        }
        double power = Math.log(above.getValue() / below.getValue())
                / Math.log((double) above.getKey() / below.getKey());
        return below.getValue() * Math.pow((double) n / below.getKey(), power);
    }
}
