package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.gptq.solve.Polish;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;

/**
 * The phases of work that devices do in parallel. Those of the first device are forwarded at once; those of the others
 * when all are done, so that only one thread calls the listener.
 */
public final class SharedPhases {

    private final Phases phases;
    private final List<Later> others = new ArrayList<>();

    public SharedPhases(Phases phases, int devices) {
        this.phases = phases;
        for (int device = 1; device < devices; device++) {
            others.add(new Later());
        }
    }

    /** The phases of one device. */
    public Phases of(int device) {
        return device == 0 ? phases : others.get(device - 1);
    }

    /** All are done. */
    public void finish() {
        others.forEach(other -> other.done.forEach(work -> work.accept(phases)));
    }

    private static final class Later implements Phases {
        private final List<Consumer<Phases>> done = new ArrayList<>();

        @Override
        public void enter(String phase) {
            // Its time has passed already, in the first device's phases; this sets the phase of the work that follows.
            done.add(phases -> phases.enter(phase));
        }

        @Override
        public void forward(long rows) {
            done.add(phases -> phases.forward(rows));
        }

        @Override
        public void captured(Set<InputSite> sites, long rows) {
            done.add(phases -> phases.captured(sites, rows));
        }

        @Override
        public void hessian(InputSite site, long rows) {
            done.add(phases -> phases.hessian(site, rows));
        }

        @Override
        public void cross(InputSite site, long rows) {
            done.add(phases -> phases.cross(site, rows));
        }

        @Override
        public void solved(LinearSpec linear, Polish polish) {
            done.add(phases -> phases.solved(linear, polish));
        }

        @Override
        public void learned(long rows) {
            done.add(phases -> phases.learned(rows));
        }
    }
}
