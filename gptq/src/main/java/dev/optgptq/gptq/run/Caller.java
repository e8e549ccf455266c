package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.kernels.DeviceGroup;
import java.util.function.Consumer;

/**
 * The caller of a run: its devices, and its listeners.
 *
 * @param devices they share the calibration; the checkpoint is the same as with one
 * @param origin for the report and the checkpoint's provenance
 * @param listener receives progress
 * @param log receives decisions line by line: the memory plan, warnings, problems
 */
record Caller(DeviceGroup devices, Origin origin, Progress listener, Consumer<String> log) {}
