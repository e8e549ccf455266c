package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.family.HeadSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.WeightView;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.formats.scaled.ScaledTensor;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Compares the tensors of a directory with config.json and the family: all present, with the right shape and dtype, and
 * none left over that a forward pass would have to read.
 */
public final class TensorCheck {

    private static final int SHOWN = 5;
    /** Buffers that old exporters wrote among the weights: they follow from config.json. */
    private static final List<String> LEFTOVERS = List.of(".*rotary_emb\\.inv_freq");

    private final ModelSpec spec;
    private final ModelDirectory directory;
    private final Set<String> known = new HashSet<>();
    private final List<String> missing = new ArrayList<>();

    public TensorCheck(ModelSpec spec, ModelDirectory directory) {
        this.spec = spec;
        this.directory = directory;
    }

    public void check() {
        // Refuses a quantization of another method, whatever the tensors look like: runtimes would act on it.
        directory.quantization();
        embedding(spec.embedding());
        for (BlockSpec block : spec.blockSpecs()) {
            block.norms().values().forEach(this::norm);
            block.linears().forEach(this::linear);
            refuseOtherExperts(block);
            block.parameters().values().forEach(parameter -> plain(parameter.name(), shape(parameter.shape())));
            if (missing.size() > SHOWN) {
                // Enough for a message; the number of blocks is unbounded.
                refuseMissing();
            }
        }
        head(spec.head());
        refuseMissing();
        refuseUnknown();
    }

    private static Shape shape(List<Long> dimensions) {
        return Shape.of(dimensions.stream().mapToLong(Long::longValue).toArray());
    }

    private void embedding(EmbeddingSpec embedding) {
        refusePacked(embedding.table());
        plain(embedding.table() + ".weight", Shape.of(spec.vocabSize(), embedding.width()));
        if (embedding.projection() != null) {
            plain(embedding.projection() + ".weight", Shape.of(spec.hiddenSize(), embedding.width()));
        }
        if (embedding.positions() != null) {
            plain(embedding.positions().table() + ".weight",
                    Shape.of(embedding.positions().rows(), spec.hiddenSize()));
        }
        if (embedding.norm() != null) {
            norm(embedding.norm());
        }
    }

    /** Of an embedding rows are read, which packed ones are not decoded for. */
    private void refusePacked(String table) {
        directory.quantization().map(QuantizationConfig::format)
                .filter(format -> format.holds(table, directory.tensors())).ifPresent(format -> {
                    throw new UserError(UserError.Code.UNSUPPORTED_MODEL, table
                            + ": expected an embedding stored as floats, found one quantized as " + format + " in "
                            + directory.tensor(table + format.codes()).file()
                            + "; quantize the linears alone, from the unquantized model");
                });
    }

    private void head(HeadSpec head) {
        if (head.norm() != null) {
            norm(head.norm());
        }
        if (head.projection() != null) {
            plain(head.projection() + ".weight", Shape.of(head.width(), spec.hiddenSize()));
        }
        if (head.tied()) {
            known.add(head.module() + ".weight");
        } else {
            Optional<PackedLayout> packed = directory.packedLayout(head.module());
            if (packed.isPresent()) {
                packed(head.module(), packed.get(), head.width(), spec.vocabSize());
            } else {
                plain(head.module() + ".weight", Shape.of(spec.vocabSize(), head.width()));
            }
        }
        if (head.bias()) {
            plain(head.module() + ".bias", Shape.of(spec.vocabSize()));
        }
    }

    private void norm(NormSpec norm) {
        norm.stored().forEach(stored -> plain(stored.tensor(), Shape.of(stored.columns())));
    }

    private void linear(LinearSpec linear) {
        WeightView view = linear.view();
        Optional<PackedLayout> packed = directory.packedLayout(linear.module());
        Optional<ScaledTensor> scaled = directory.scaled(view.weight());
        if (packed.isPresent()) {
            packed(linear.module(), packed.get(), linear.inputs(), linear.outputs());
        } else if (scaled.isPresent()) {
            scaled(linear, scaled.get());
        } else {
            plain(view.weight(), shape(linear, view.stored() == WeightView.Stored.IN_OUT));
        }
        // Older GPTQ writers give every packed linear a bias, and every loader adds it.
        if (linear.bias() || (packed.isPresent() && directory.tensors().containsKey(view.biasTensor()))) {
            plain(view.biasTensor(),
                    view.shared() ? Shape.of(view.matrices(), linear.outputs()) : Shape.of(linear.outputs()));
        }
    }

    private void scaled(LinearSpec linear, ScaledTensor scaled) {
        boolean turned = ScaledLoader.isTurned(linear, scaled);
        Shape expected = shape(linear, turned);
        TensorView elements = scaled.parts().getFirst();
        if (!scaled.shape().equals(expected)) {
            throw bad(elements.name() + ": expected " + expected + ", found " + scaled.shape() + " in "
                    + elements.file() + "; the file is damaged or config.json is from another model");
        }
        scaled.parts().forEach(part -> known.add(part.name()));
    }

    private static Shape shape(LinearSpec linear, boolean turned) {
        long rows = turned ? linear.inputs() : linear.outputs();
        long columns = turned ? linear.outputs() : linear.inputs();
        return linear.view().shared()
                ? Shape.of(linear.view().matrices(), rows, columns)
                : Shape.of(rows, columns);
    }

    private void packed(String module, PackedLayout packed, int inputs, int outputs) {
        CheckpointFormat format = directory.quantization().map(QuantizationConfig::format).orElseThrow();
        format.packing().suffixes().forEach(suffix -> known.add(module + suffix));
        if (packed.inputs() != inputs || packed.outputs() != outputs) {
            throw bad(module + ": expected " + outputs + " outputs and " + inputs + " inputs, found "
                    + packed.outputs() + " and " + packed.inputs() + " in "
                    + directory.tensor(module + format.codes()).file()
                    + "; the file is damaged or config.json is from another model");
        }
    }

    private void plain(String name, Shape expected) {
        if (!known.add(name)) {
            return; // one tensor holds the weights of several experts
        }
        TensorView found = directory.tensors().get(name);
        if (found == null) {
            missing.add(name);
        } else if (!found.shape().equals(expected)) {
            throw bad(name + ": expected " + expected + ", found " + found.shape() + " in " + found.file()
                    + "; the file is damaged or config.json is from another model");
        } else if (!found.dtype().isFloat()) {
            throw bad(name + ": expected a float dtype, F16, BF16, F32 or F64, found " + found.dtype() + " in "
                    + found.file()
                    + "; give the unquantized model, one that is quantized in a format that is read, or linears in FP8 or MXFP4 with the"
                    + " quantization_config that says so");
        }
    }

    /** Experts are one a tensor or all in one, as the family has them: names what is there in another layout. */
    private void refuseOtherExperts(BlockSpec block) {
        for (LinearSpec linear : block.linears()) {
            String expected = linear.view().weight();
            if (linear.expert() == LinearSpec.NO_EXPERT || !missing.contains(expected)) {
                continue;
            }
            String number = "." + linear.expert() + ".";
            String parent = expected.substring(0, linear.view().shared()
                    ? expected.lastIndexOf('.', linear.module().length() - 1) + 1
                    : expected.lastIndexOf(number) + 1);
            List<String> others = directory.tensors().values().stream()
                    .filter(found -> found.name().startsWith(parent) && !known.contains(found.name()))
                    .map(found -> found.name() + " " + found.shape()).toList();
            if (!others.isEmpty()) {
                throw bad(directory.path() + ": experts of block " + block.index() + " are in no layout of "
                        + spec.family() + ": expected " + expected + " "
                        + shape(linear, linear.view().stored() == WeightView.Stored.IN_OUT) + ", "
                        + (linear.view().shared() ? "all experts in one tensor" : "one tensor for each expert")
                        + ", found " + list(others)
                        + "; export the model as its family is published, or add a description (CONTRIBUTING)");
            }
        }
    }

    private void refuseMissing() {
        if (!missing.isEmpty()) {
            throw bad(directory.path() + ": missing " + list(missing)
                    + "; the download is incomplete or config.json is from another model");
        }
    }

    private void refuseUnknown() {
        List<Predicate<String>> unused = Stream.concat(spec.unused().stream(), LEFTOVERS.stream())
                .map(pattern -> Pattern.compile(pattern).asMatchPredicate()).toList();
        List<String> unknown = directory.tensors().sequencedKeySet().stream()
                .filter(name -> !known.contains(name) && unused.stream().noneMatch(pattern -> pattern.test(name)))
                .toList();
        if (!unknown.isEmpty()) {
            throw bad(directory.path() + ": tensors that a " + spec.family()
                    + " model of this config.json does not have: "
                    + list(unknown) + "; refusing: ignoring them would change the model");
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
