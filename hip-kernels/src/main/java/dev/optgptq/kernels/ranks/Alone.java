package dev.optgptq.kernels.ranks;

import java.lang.foreign.MemorySegment;

/** The only process of a job. */
public record Alone() implements Ranks {

    @Override
    public int rank() {
        return 0;
    }

    @Override
    public int size() {
        return 1;
    }

    @Override
    public String name(int rank) {
        return "this process";
    }

    @Override
    public int onThisHost() {
        return 1;
    }

    @Override
    public void send(int to, MemorySegment bytes) {
        throw new IllegalArgumentException("there is no rank " + to);
    }

    @Override
    public void receive(int from, MemorySegment bytes) {
        throw new IllegalArgumentException("there is no rank " + from);
    }

    @Override
    public void receiveLate(int from, MemorySegment bytes) {
        receive(from, bytes);
    }

    @Override
    public void fail(String reason) {
        // Nobody is to be told.
    }

    @Override
    public void close() {
        // Nobody is waited for.
    }
}
