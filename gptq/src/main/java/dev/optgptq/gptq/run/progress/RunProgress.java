package dev.optgptq.gptq.run.progress;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.kernels.ranks.Ranks;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Progress of a run: its current phase, and how much of its work, in floating-point operations, is done.
 */
public final class RunProgress {

    private final PhaseClock clock;
    private final WorkCount flops;
    private final Progress listener;
    /** Operations by phase that other ranks know of. */
    private final Map<String, Double> told = new HashMap<>();
    private double total;
    private double done;
    private String where = "";
    private String phase = "";

    /** @param total floating-point operations of the whole run */
    public RunProgress(PhaseClock clock, WorkCount flops, Progress listener, double total) {
        this.clock = clock;
        this.flops = flops;
        this.listener = listener;
        this.total = total;
    }

    public WorkCount flops() {
        return flops;
    }

    /** Floating-point operations of the whole run, without those done by an earlier run. */
    public double total() {
        return total;
    }

    /** Subtracts work that an earlier run has done. To be called before other work is counted. */
    public void skip(double operations) {
        total = Math.max(0, total - operations);
    }

    /** Starts a phase at a new place. */
    public void enter(String newPhase, String newWhere) {
        where = newWhere;
        enter(newPhase);
    }

    /** Starts a phase at the same place. */
    public void enter(String newPhase) {
        phase = newPhase;
        clock.enter(newPhase);
    }

    /** Counts work done in the running phase. */
    public void did(double operations) {
        clock.count(operations);
        done = Math.min(total, done + operations);
        listener.at(where.isEmpty() ? phase : where + ": " + phase, (long) done, (long) total);
    }

    /** Adds what other ranks have done since the last call to the first rank's counts. All ranks call this. */
    public void exchange(Ranks ranks) {
        if (!ranks.areSeveral()) {
            return;
        }
        StringBuilder mine = new StringBuilder();
        for (RunReport.Phase now : clock.phases()) {
            double before = told.getOrDefault(now.name(), 0.0);
            mine.append(now.name()).append('\t').append(now.flops() - before).append('\n');
            told.put(now.name(), now.flops());
        }
        List<String> all = ranks.exchange(mine.toString());
        if (ranks.isFirst()) {
            all.stream().skip(1).flatMap(String::lines).map(line -> line.split("\t", 2)).forEach(line -> {
                double operations = Double.parseDouble(line[1]);
                clock.count(line[0], operations);
                done = Math.min(total, done + operations);
            });
            clock.phases().forEach(phase -> told.put(phase.name(), phase.flops()));
        }
    }

    /** A listener for a part of the run that has its own count; the part's share of the work is {@code operations}. */
    public Progress part(double operations) {
        double[] seen = {0};
        return (what, partDone, partTotal) -> {
            double now = partTotal <= 0 ? 0 : operations * partDone / partTotal;
            did(now - seen[0]);
            seen[0] = now;
        };
    }
}
