package dev.optgptq.gptq.bench.plan;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.json.Json;
import dev.optgptq.gptq.bench.ModelShape;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.ToDoubleBiFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
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
    private static final Pattern SQUARE = Pattern.compile("\\[(\\d{1,7}), \\d+\\]");
    private static final List<String> PHASES = List.of("forward", "hessian", "solve", "write", "verify");
    /** The calibrator whose phases these are. */
    private static final String PLAIN = CalibratorKind.GPTQ.toString();
    private static final Set<String> PRODUCTS = Set.of("F32", "F16", "BF16");
    /** Of solving, what is left at least when the factors, which are timed alone, are taken off. */
    private static final double LEAST_SHARE = 0.1;

    /** One NVIDIA H200, measured at Llama-2-7B's shape on 2026-11-30. */
    public static CardRates bundled() {
        return of(Json.bundled(CardRates.class, BUNDLED), BUNDLED);
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
                factors.put(Integer.parseInt(size.group(1)), positive(op, "seconds", file));
            }
        }
        Map<String, JsonNode> job = new TreeMap<>();
        json.path("job").values().forEach(phase -> job.put(phase.path("name").asString(""), phase));
        String products = json.path("products").asString("");
        if (factors.isEmpty() || !job.keySet().containsAll(PHASES) || !PRODUCTS.contains(products)
                || !json.path("calibrator").asString(PLAIN).equals(PLAIN)) {
            throw unlike(file);
        }
        ModelSpec spec = ModelShape.of(json.path("shape").asString("")).spec();
        double factoring = 0;
        for (BlockSpec block : spec.blockSpecs()) {
            for (InputSite site : block.sites()) {
                factoring += seconds(factors, block.inputs(site));
            }
        }
        ToDoubleBiFunction<String, String> of = (phase, what) -> positive(job.get(phase), what, file);
        double solve = of.applyAsDouble("solve", "seconds");
        double packed = PackedBytes.of(spec);
        return new CardRates(json.path("deviceDescription").asString(""), DType.valueOf(products),
                of.applyAsDouble("forward", "operations") / of.applyAsDouble("forward", "seconds"),
                of.applyAsDouble("hessian", "operations") / of.applyAsDouble("hessian", "seconds"),
                of.applyAsDouble("solve", "operations") / Math.max(solve - factoring, LEAST_SHARE * solve), factors,
                positive(json.path("rates"), "upload", file), packed / of.applyAsDouble("write", "seconds"),
                packed / of.applyAsDouble("verify", "seconds"));
    }

    private static double positive(@Nullable JsonNode of, String name, String file) {
        double value = of == null ? 0 : of.path(name).asDouble(0);
        if (!(value > 0 && Double.isFinite(value))) {
            throw unlike(file);
        }
        return value;
    }

    private static UserError unlike(String file) {
        return new UserError(Code.BAD_TEXT,
                file + ": expected what opt-gptq bench --shape NAME --json FILE writes of plain GPTQ");
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
