package dev.optgptq.calibrate.generate;

import dev.optgptq.kernels.Device;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Steps of decoding whose shapes repeat: the first of a shape runs as it is, the second is recorded, and the recording is
 * replayed from then on. The shapes used last are kept.
 */
final class RecordedSteps implements AutoCloseable {

    private static final int MOST = 4;

    private final Device device;
    /** Empty after the first step of a shape. The one used last is the last. */
    private final Map<Object, Optional<Device.Recording>> steps = new LinkedHashMap<>();

    RecordedSteps(Device device) {
        this.device = device;
    }

    /** @param shape equal for steps that issue the same ops on the same tensors */
    void run(Object shape, Runnable step) {
        Optional<Device.Recording> known = steps.remove(shape);
        if (known == null) {
            step.run();
            makeRoom();
            steps.put(shape, Optional.empty());
            return;
        }
        Device.Recording recording = known.orElseGet(() -> device.record(step));
        steps.put(shape, Optional.of(recording));
        recording.replay();
    }

    private void makeRoom() {
        Iterator<Optional<Device.Recording>> oldest = steps.values().iterator();
        while (steps.size() >= MOST) {
            oldest.next().ifPresent(Device.Recording::close);
            oldest.remove();
        }
    }

    @Override
    public void close() {
        steps.values().forEach(step -> step.ifPresent(Device.Recording::close));
        steps.clear();
    }
}
