package dev.optgptq.calibrate.family;

import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;

/** Facts about the architecture that only a checkpoint's tensors show. */
final class CheckpointFacts {

    private CheckpointFacts() {}

    /**
     * A head that config.json declares tied, with a matrix that differs from the embedding table, is not tied:
     * transformers keeps both then.
     */
    static ModelSpec apply(ModelSpec spec, ModelDirectory directory) {
        if (!spec.head().tied()) {
            return spec;
        }
        TensorView table = directory.tensors().get(spec.embedding().table() + ".weight");
        TensorView head = directory.tensors().get(spec.head().module() + ".weight");
        if (table == null || head == null || !head.shape().equals(table.shape()) || equal(table, head)) {
            return spec;
        }
        return spec.withHead(spec.head().untied(), head.name() + " differs from " + table.name()
                + ", although config.json declares them tied; the model is run with both");
    }

    private static boolean equal(TensorView a, TensorView b) {
        return a.dtype() == b.dtype() && a.data().mismatch(b.data()) < 0;
    }
}
