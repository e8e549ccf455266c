package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * Compares the tensors of a directory with what config.json and the family promise: all there, of the right shape and
 * dtype, and none left over that a forward pass would have to read.
 */
public final class TensorCheck {

    private static final int SHOWN = 5;
    private static final List<String> PACKED_PARTS = List.of(".qweight", ".qzeros", ".scales", ".g_idx");

    private final ModelSpec spec;
    private final ModelDirectory directory;
    private final Set<String> known = new HashSet<>();
    private final List<String> missing = new ArrayList<>();

    public TensorCheck(ModelSpec spec, ModelDirectory directory) {
        this.spec = spec;
        this.directory = directory;
    }

    public void check() {
        ModelSpec.TensorNames names = spec.names();
        int hidden = spec.hiddenSize();
        plain(names.embedding() + ".weight", Shape.of(spec.vocabSize(), hidden));
        for (int block = 0; block < spec.blocks(); block++) {
            norm(names.inBlock(block, names.attentionNorm()));
            norm(names.inBlock(block, names.mlpNorm()));
            for (LinearSpec linear : spec.linears(block)) {
                linear(linear.module(), linear.inputs(), linear.outputs(), linear.bias());
            }
            for (String role : names.unused()) {
                known.add(names.inBlock(block, role));
            }
            if (missing.size() > SHOWN) {
                // Enough to say, and the number of blocks can be any number.
                refuseMissing();
            }
        }
        norm(names.finalNorm());
        if (spec.tiedHead()) {
            known.add(names.head() + ".weight");
        } else {
            linear(names.head(), hidden, spec.vocabSize(), false);
        }
        refuseMissing();
        refuseUnknown();
    }

    private void norm(String name) {
        Shape shape = Shape.of(spec.hiddenSize());
        plain(name + ".weight", shape);
        if (spec.norm().bias()) {
            plain(name + ".bias", shape);
        }
    }

    private void linear(String module, int inputs, int outputs, boolean hasBias) {
        Optional<PackedLinear> packed = directory.packed(module);
        if (packed.isPresent()) {
            packed(module, packed.get(), inputs, outputs);
        } else {
            plain(module + ".weight", Shape.of(outputs, inputs));
        }
        // Older GPTQ writers give every packed linear a bias, and every loader adds it.
        if (hasBias || (packed.isPresent() && directory.tensors().containsKey(module + ".bias"))) {
            plain(module + ".bias", Shape.of(outputs));
        }
    }

    private void packed(String module, PackedLinear packed, int inputs, int outputs) {
        PACKED_PARTS.forEach(part -> known.add(module + part));
        if (packed.inputs() != inputs || packed.outputs() != outputs) {
            throw bad(module + ": expected " + outputs + " outputs and " + inputs + " inputs, found "
                    + packed.outputs() + " and " + packed.inputs() + " in "
                    + directory.tensor(module + ".qweight").file()
                    + "; the file is damaged or config.json is from another model");
        }
    }

    private void plain(String name, Shape expected) {
        known.add(name);
        TensorView found = directory.tensors().get(name);
        if (found == null) {
            missing.add(name);
        } else if (!found.shape().equals(expected)) {
            throw bad(name + ": expected " + expected + ", found " + found.shape() + " in " + found.file()
                    + "; the file is damaged or config.json is from another model");
        } else if (!found.dtype().isFloat()) {
            throw bad(name + ": expected a float dtype, F16, BF16, F32 or F64, found " + found.dtype() + " in "
                    + found.file() + "; give the unquantized model, or one quantized by GPTQ");
        }
    }

    private void refuseMissing() {
        if (!missing.isEmpty()) {
            throw bad(directory.path() + ": missing " + list(missing)
                    + "; the download is incomplete or config.json is from another model");
        }
    }

    private void refuseUnknown() {
        List<String> unknown = directory.tensors().sequencedKeySet().stream()
                .filter(name -> !known.contains(name))
                .toList();
        if (!unknown.isEmpty()) {
            throw bad(directory.path() + ": tensors that a " + spec.family()
                    + " model of this config.json does not have: "
                    + list(unknown) + "; ignoring them would run another model than the one that was trained");
        }
    }

    private static String list(List<String> names) {
        String shown = String.join(", ", names.subList(0, Math.min(SHOWN, names.size())));
        return names.size() > SHOWN ? shown + " and more" : shown;
    }

    private static UserError bad(String message) {
        return new UserError(UserError.Code.BAD_MODEL, message);
    }
}
