package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.report.RunReport;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SortedMap;

/**
 * The dtype and the scales of a checkpoint as read back.
 *
 * @param scales of each linear, by module
 */
public record CheckedNumbers(OutputDtype dtype, SortedMap<String, ScaleCount> scales) {

    /** A linear with a larger share of lost groups is named; pruned outputs and dead neurons leave a few. */
    private static final double MANY = 0.01;

    private ScaleCount all() {
        return scales.values().stream().reduce(ScaleCount.NONE, ScaleCount::plus);
    }

    /** Throws UserError NUMERIC for negative scales if the settings forbid them: learning can move a scale below 0. */
    public void requirePositive() {
        if (all().negative() > 0) {
            throw new UserError(UserError.Code.NUMERIC, "--positive-scales: " + all().negative() + " of " + all().all()
                    + " scales became negative during tuning; use fewer steps (--tune), or leave the option out");
        }
    }

    public RunReport.Range range() {
        return new RunReport.Range(dtype.name(), dtype.largest(), dtype.where(), all().negativeShare());
    }

    /** Sentences for the user. */
    public List<String> warnings() {
        List<String> warnings = new ArrayList<>();
        if (dtype.warning() != null) {
            warnings.add(dtype.warning());
        }
        for (Map.Entry<String, ScaleCount> entry : scales.entrySet()) {
            ScaleCount count = entry.getValue();
            if (count.least() > MANY * count.all()) {
                warnings.add(String.format(Locale.ROOT,
                        "%s: %d of %d groups hold weights that need a scale below float16's least, 6e-8; they became 0 or coarse. "
                                + "Scale these rows up in the source model where they matter",
                        entry.getKey(), count.least(), count.all()));
            }
        }
        return warnings;
    }
}
