package dev.optgptq.gptq.run.progress;

import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.kernels.Device;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/** Measures time by phase: exactly one phase runs at any moment, so that the phases add up. */
public final class PhaseClock {

    private static final class Tally {
        private long nanos;
        private double flops;
    }

    private final Device device;
    private final SequencedMap<String, Tally> tallies = new LinkedHashMap<>();
    private String current;
    private long since = System.nanoTime();

    public PhaseClock(Device device, String first) {
        this.device = device;
        this.current = first;
    }

    /** Ends the running phase and starts another; returns the one that ended. */
    public String enter(String phase) {
        device.synchronize();
        long now = System.nanoTime();
        tally(current).nanos += now - since;
        since = now;
        String ended = current;
        current = phase;
        return ended;
    }

    /** Adds the times of earlier runs whose work this one reuses. */
    public void add(List<RunReport.Phase> phases) {
        for (RunReport.Phase phase : phases) {
            tally(phase.name()).nanos += Math.round(phase.seconds() * 1e9);
            tally(phase.name()).flops += phase.flops();
        }
    }

    /** Adds to the work of the running phase. */
    void count(double flops) {
        tally(current).flops += flops;
    }

    /** Adds to the work of a phase, which other ranks have done. */
    void count(String phase, double flops) {
        tally(phase).flops += flops;
    }

    /** All until now. */
    public List<RunReport.Phase> phases() {
        enter(current);
        List<RunReport.Phase> phases = new ArrayList<>();
        tallies.forEach((name, tally) -> phases.add(new RunReport.Phase(name, tally.nanos / 1e9, tally.flops)));
        return phases;
    }

    private Tally tally(String phase) {
        return tallies.computeIfAbsent(phase, unused -> new Tally());
    }
}
