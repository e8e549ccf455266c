package dev.optgptq.gptq.run.resume;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.model.SourceFiles;
import dev.optgptq.gptq.journal.Identity;
import dev.optgptq.gptq.run.memory.MemoryPlan;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.kernels.Device;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/** What decides the bits of a checkpoint, so that no run goes on from another one's blocks. */
public final class RunIdentity {

    private RunIdentity() {}

    /**
     * @param products what linears are multiplied in while calibrating
     * @param memory how many tokens run at once while calibrating, and in how many parts: on a GPU what fits, and sums
     *     follow it
     * @param calibration null when the calibrator needs none
     */
    public static Identity of(QuantizeSettings settings, DType products, MemoryPlan memory, Origin origin,
            Device device,
            ModelDirectory source,
            @Nullable TokenSequences calibration) {
        SequencedMap<String, String> facts = settings(settings);
        facts.put("the calibration text", calibration == null ? "none" : tokens(calibration));
        facts.put("the products of the forward pass", products.toString());
        facts.put("the tokens of a batch", memory.batchRows() + ", in " + memory.parts() + " parts");
        facts.put("the program", origin.tool() + " " + origin.version());
        facts.put("Java", Runtime.version().toString());
        facts.put("the device", device.arithmetic());
        facts.putAll(SourceFiles.describe(source));
        return new Identity(facts);
    }

    /**
     * By the names of the options. Those that choose the calibration text count through its tokens; those of the
     * evaluation, and where the output goes, decide nothing.
     */
    public static SequencedMap<String, String> settings(QuantizeSettings settings) {
        SequencedMap<String, String> facts = new LinkedHashMap<>();
        facts.put("--calibrator", lower(settings.calibrator()));
        facts.put("--bits", String.valueOf(settings.bits()));
        facts.put("--group-size", String.valueOf(settings.groupSize()));
        facts.put("--symmetric", String.valueOf(settings.symmetric()));
        facts.put("--clip-search", String.valueOf(settings.clipSearch()));
        facts.put("--format", settings.format().label());
        if (settings.calibrator() == CalibratorKind.GRADIENT) {
            facts.put("the refinement", settings.refinement().toString());
        }
        if (settings.calibrator() != CalibratorKind.RTN) {
            facts.put("--scale-search", String.valueOf(settings.scaleSearch()));
            facts.put("--refit-scales", String.valueOf(settings.refinement().refitScales()));
            facts.put("--coordinate-descent", String.valueOf(settings.refinement().descentSweeps()));
            facts.put("--act-order", lower(settings.actOrder()));
            facts.put("--damp", String.valueOf(settings.damp()));
            facts.put("--true-sequential", String.valueOf(settings.trueSequential()));
        }
        return facts;
    }

    /** Their number and a digest of their ids. */
    static String tokens(TokenSequences sequences) {
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(Integer.BYTES, sequences.ids().length));
        bytes.asIntBuffer().put(sequences.ids());
        try {
            return sequences.count() + " x " + sequences.length() + " tokens, SHA-256 "
                    + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes.array()));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    private static String lower(Enum<?> value) {
        return value.name().toLowerCase(Locale.ROOT);
    }
}
