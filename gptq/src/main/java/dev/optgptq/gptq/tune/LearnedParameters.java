package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.weights.ParameterNames.Place;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/** The parameters of a model that are learned, whole tensors by their names on disk, in the model's order. */
final class LearnedParameters {

    /** Gradients are clipped to this global norm (Pascanu et al. 2013, arXiv 1211.5063). */
    private static final double MOST_NORM = 1;

    private final Device device;
    private final SequencedMap<String, LearnedTensor> tensors = new LinkedHashMap<>();

    LearnedParameters(Device device) {
        this.device = device;
    }

    /** Learns one more; the caller has refused models whose parameters lie otherwise on disk. */
    void put(Place place, LearnedTensor parameter) {
        if (place.index() != 0 || place.transposed()) {
            throw new IllegalArgumentException("a parameter in another layout on disk: " + place);
        }
        tensors.put(place.tensor(), parameter);
    }

    /** Null where it is not learned. */
    @Nullable
    LearnedTensor of(Place place) {
        return tensors.get(place.toString());
    }

    /** Adds gradients of some parameters, of those that are learned. */
    void add(Map<Place, Tensor> gradients) {
        gradients.forEach((place, sums) -> {
            LearnedTensor parameter = of(place);
            if (parameter != null) {
                parameter.add(sums);
            }
        });
    }

    /**
     * Takes one step of AdamW.
     *
     * @param factor of the schedule's rates
     * @param decay of the weights
     * @return false if the gradients are not finite; then nothing has changed
     */
    boolean step(Schedule schedule, int step, double factor, double decay) {
        double norm = Math.sqrt(squares());
        if (!Double.isFinite(norm)) {
            return false;
        }
        AdamStep adam = schedule.adam(step, factor, 1);
        for (LearnedTensor parameter : tensors.values()) {
            if (norm > MOST_NORM) {
                parameter.scaleGradient((float) (MOST_NORM / norm));
            }
            parameter.decay((float) (adam.rate() * decay));
            parameter.step(adam);
        }
        return true;
    }

    /** Of all gradients, summed in float64 in the order of the parameters. */
    private double squares() {
        try (TensorArena scratch = device.arena()) {
            Tensor sums = scratch.vector(DType.F64, tensors.size());
            int at = 0;
            for (LearnedTensor parameter : tensors.values()) {
                device.matrix().dot(parameter.gradient(), parameter.gradient(), sums.columns(at++, 1));
            }
            double sum = 0;
            for (double value : HostVectors.doubles(device, sums)) {
                sum += value;
            }
            return sum;
        }
    }

    void keep() {
        tensors.values().forEach(LearnedTensor::keep);
    }

    void revert() {
        tensors.values().forEach(LearnedTensor::revert);
    }

    /** The values are others now. */
    void changed() {
        tensors.values().forEach(LearnedTensor::changed);
    }

    /** Of their gradients, in float32. */
    long bytes() {
        return tensors.values().stream().mapToLong(parameter -> parameter.values().elements() * Float.BYTES).sum();
    }

    /** The state kept last, by name, as stored. */
    SequencedMap<String, Tensor> kept() {
        SequencedMap<String, Tensor> kept = new LinkedHashMap<>();
        tensors.forEach((name, parameter) -> kept.put(name, parameter.best()));
        return kept;
    }

    /** All state, by name. */
    SequencedMap<String, Tensor> state() {
        SequencedMap<String, Tensor> state = new LinkedHashMap<>();
        tensors.forEach((name, parameter) -> {
            state.put(name, parameter.values());
            state.put(name + "|first", parameter.first());
            state.put(name + "|second", parameter.second());
            state.put(name + "|best", parameter.best());
        });
        return state;
    }
}
