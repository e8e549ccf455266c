package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** One norm, of whole rows or of every head. */
record NormStep(Device device) {

    /** out = norm(x): x F32 [N, width], out the same or rounded to F16 or BF16. */
    void forward(NormWeights norm, Tensor x, Tensor out) {
        NormSpec spec = norm.spec();
        Tensor weight = norm.factor(device);
        switch (spec.kind()) {
            case RMS -> device.neural().rmsNorm(x, weight, spec.eps(), out);
            case LAYER -> device.neural().layerNorm(x, weight, norm.bias(), spec.eps(), out);
        }
    }

    /** The same in place, of groups of columns or of all. */
    void inPlace(NormWeights norm, Tensor x) {
        NormSpec spec = norm.spec();
        Tensor weight = norm.factor(device);
        switch (spec.kind()) {
            case RMS -> device.neural().rmsNormGroups(x, weight, spec.group(), spec.eps(), x);
            case LAYER -> device.neural().layerNormGroups(x, weight, norm.bias(), spec.group(), spec.eps(), x);
        }
    }

    /** d += the gradient through norm(x), where dNormed is the gradient for its output. */
    void backward(NormWeights norm, Tensor x, Tensor dNormed, Tensor d, @Nullable NormWeights into) {
        NormSpec spec = norm.spec();
        Tensor weight = norm.factor(device);
        Tensor dWeight = into == null ? null : into.weight();
        Tensor dBias = into == null ? null : into.bias();
        switch (spec.kind()) {
            case RMS -> device.gradient().rmsNormGradient(x, weight, spec.eps(), dNormed, d, dWeight);
            case LAYER -> device.gradient().layerNormGradient(x, weight, spec.eps(), dNormed, d, dWeight, dBias);
        }
    }

    /** The same of groups of columns, or of all. */
    void groupsBackward(NormWeights norm, Tensor x, Tensor dNormed, Tensor d, @Nullable NormWeights into) {
        NormSpec spec = norm.spec();
        Tensor weight = norm.factor(device);
        Tensor dWeight = into == null ? null : into.weight();
        Tensor dBias = into == null ? null : into.bias();
        switch (spec.kind()) {
            case RMS -> device.gradient().rmsNormGroupsGradient(x, weight, spec.group(), spec.eps(), dNormed, d,
                    dWeight);
            case LAYER -> device.gradient().layerNormGroupsGradient(x, weight, spec.group(), spec.eps(), dNormed, d,
                    dWeight, dBias);
        }
    }
}
