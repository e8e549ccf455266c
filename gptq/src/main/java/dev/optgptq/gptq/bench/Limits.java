package dev.optgptq.gptq.bench;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.bench.BenchReport.Entry;
import dev.optgptq.gptq.bench.BenchReport.Rates;
import dev.optgptq.kernels.Device;

/** Times ops, and computes the shortest time that the device's rates allow. */
record Limits(Device device, Rates rates) {

    /** @param factors matmul dtype */
    Entry entry(String name, String size, double operations, DType factors, double bytes, Runnable op) {
        double seconds = new Stopwatch(device).seconds(op);
        return new Entry(name, size, seconds, operations, bytes,
                Math.max(arithmetic(operations, factors), bytes / rates.copy()));
    }

    /** Seconds for the operations at the matmul rate of this dtype. */
    double arithmetic(double operations, DType factors) {
        Double half = rates.half();
        return operations / (factors == DType.F32 || half == null ? rates.float32() : half);
    }
}
