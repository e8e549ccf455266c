package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.kernels.DeviceGroup;
import java.util.function.Consumer;

/**
 * Who starts a run, on what, and who hears of it.
 *
 * @param devices calibration is spread over them; the checkpoint is that of one of them
 * @param origin for the report and the checkpoint's provenance
 * @param listener hears how far the run is
 * @param log hears what was decided, one line at a time: the memory plan, warnings, problems
 */
record Caller(DeviceGroup devices, Origin origin, Progress listener, Consumer<String> log) {}
