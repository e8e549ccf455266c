package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.weights.WeightLoader;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.TensorArena;
import java.util.List;

/** What is asked of a model's stored weights when it is opened, before any block is loaded. */
record StoredWeights(ModelSpec spec, ModelDirectory directory) {

    /**
     * Throws UserError NUMERIC where a weight outside the blocks is not finite: those of the blocks are checked on loading; these might
     * never be loaded, and are copied as they are.
     */
    void requireFinite(Device device, WeightLoader loader) {
        EmbeddingSpec form = spec.embedding();
        try (TensorArena scratch = device.arena()) {
            loader.requireFinite(form.table() + ".weight", spec.vocabSize(), form.width());
            if (form.positions() != null) {
                loader.requireFinite(form.positions().table() + ".weight", form.positions().rows(), spec.hiddenSize());
            }
            if (spec.head().norm() != null) {
                loader.norm(spec.head().norm(), scratch);
            }
            String matrix = spec.head().module() + ".weight";
            if (!spec.head().tied() && directory.tensors().containsKey(matrix)) {
                loader.requireFinite(matrix, spec.vocabSize(), spec.head().width());
            }
        }
    }

    /** The one dtype of all linears of the blocks; F32 where they differ or are not plain tensors. */
    DType dtypeOfLinears() {
        List<DType> stored = spec.blockSpecs().stream().flatMap(block -> block.linears().stream())
                .map(linear -> directory.tensors().get(linear.weightTensor()))
                .map(view -> view == null ? DType.F32 : view.dtype()).distinct().toList();
        return stored.size() == 1 ? stored.getFirst() : DType.F32;
    }
}
