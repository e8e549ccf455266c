package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.Closing;
import dev.optgptq.kernels.Device.Recording;
import dev.optgptq.kernels.gpu.driver.Recordings;
import java.lang.System.Logger;
import java.util.List;

/**
 * Records the work of a context's stream. Scratch memory that the work frees stays its own until the recording is closed,
 * since replaying uses the same addresses. Where a runtime cannot record, work is issued launch by launch, and a warning
 * says so once.
 */
final class GpuRecorder {

    private static final Logger LOG = System.getLogger(GpuRecorder.class.getName());

    private final GpuContext context;
    private boolean refused;

    GpuRecorder(GpuContext context) {
        this.context = context;
    }

    Recording record(Runnable work) {
        if (!refused) {
            try {
                return recorded(work);
            } catch (UserError e) {
                if (e.code() != UserError.Code.DEVICE) {
                    throw e;
                }
                refused = true;
                LOG.log(Logger.Level.WARNING, context.deviceName() + ": a step of generation cannot be recorded ("
                        + e.getMessage() + "); its kernels are launched one by one, which is slower");
            }
        }
        return new Recording() {
            @Override
            public void replay() {
                work.run();
            }

            @Override
            public void close() {}
        };
    }

    private Recording recorded(Runnable work) {
        context.activate();
        Recordings recordings = context.driver().recordings();
        recordings.begin(context.stream());
        context.memory().hold();
        try {
            work.run();
        } catch (RuntimeException | Error e) {
            Closing.after(e, List.of(() -> recordings.destroy(recordings.end(context.stream())), this::letGo));
            throw e;
        }
        try {
            return new Recorded(recordings, recordings.end(context.stream()), context.memory().endHold());
        } catch (RuntimeException | Error e) {
            Closing.after(e, List.of(this::letGo));
            throw e;
        }
    }

    private void letGo() {
        context.memory().endHold().forEach(context.memory()::release);
    }

    /** A recording, and the scratch memory that its work has freed. */
    private final class Recorded implements Recording {
        private final Recordings recordings;
        private final long recording;
        private final List<Long> blocks;

        Recorded(Recordings recordings, long recording, List<Long> blocks) {
            this.recordings = recordings;
            this.recording = recording;
            this.blocks = blocks;
        }

        @Override
        public void replay() {
            context.replay(recordings, recording);
        }

        @Override
        public void close() {
            context.synchronize();
            recordings.destroy(recording);
            blocks.forEach(context.memory()::release);
        }
    }
}
