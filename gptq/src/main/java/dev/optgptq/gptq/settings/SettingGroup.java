package dev.optgptq.gptq.settings;

/** Settings that belong together, in the order of the help. */
public enum SettingGroup {
    QUANTIZATION("Quantization"), MODULES("Some modules"), GRADIENT("Gradient calibration"), CALIBRATION(
            "Calibration"), EVALUATION(
                    "Evaluation");

    private final String heading;

    SettingGroup(String heading) {
        this.heading = heading;
    }

    public String heading() {
        return heading;
    }
}
