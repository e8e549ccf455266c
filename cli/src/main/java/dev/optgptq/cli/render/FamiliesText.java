package dev.optgptq.cli.render;

import dev.optgptq.calibrate.eval.GoldenCheck;
import dev.optgptq.calibrate.eval.GoldenCheck.Distance;
import dev.optgptq.calibrate.family.Families;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/** Model families, and the distance of one from another implementation, as text. */
public final class FamiliesText {

    /** How many of the worst gradients are shown. */
    private static final int SHOWN = 5;

    private FamiliesText() {}

    public static String of(List<Families.Summary> families) {
        StringBuilder text = new StringBuilder();
        for (Families.Summary family : families) {
            line(text, family.name());
            line(text, "  model_type     " + String.join(", ", family.modelTypes()));
            line(text, "  architectures  " + String.join(", ", family.architectures()));
            line(text, "  special        " + family.special());
            for (String limit : family.limits()) {
                line(text, "  supported      " + limit);
            }
            line(text, "  checked        against transformers 5.18 on random configurations"
                    + (family.fixtures().isEmpty() ? "" : ", and on " + String.join(", ", family.fixtures())));
        }
        return text.toString();
    }

    public static String of(GoldenCheck.Found found, double tolerance) {
        StringBuilder text = new StringBuilder();
        line(text, "family " + found.spec().family() + ", " + found.spec().blocks() + " blocks, hidden size "
                + found.spec().hiddenSize());
        found.spec().remarks().forEach(remark -> line(text, "warning: " + remark));
        found.logits().ifPresent(
                logits -> line(text, "logits: largest difference / largest logit = " + number(logits.relative())));
        List<Distance> worst = found.gradients().stream()
                .sorted(Comparator.comparingDouble(Distance::relative).reversed()).toList();
        line(text, "gradients: " + worst.size() + " tensors" + (worst.isEmpty() ? "" : ", the worst:"));
        worst.stream().limit(SHOWN).forEach(
                distance -> line(text, "  " + distance.tensor() + " " + number(distance.relative())));
        line(text, (found.worst() <= tolerance ? "agrees within " : "does not agree within ") + number(tolerance));
        return text.toString();
    }

    /** Several folders, each under its name, and how many agree. */
    public static String ofFolders(List<FolderCheck> checks, double tolerance) {
        StringBuilder text = new StringBuilder();
        for (FolderCheck check : checks) {
            line(text, check.folder() + ":");
            text.append((check.found() == null ? "error: " + check.error() + "\n" : of(check.found(), tolerance))
                    .indent(2));
        }
        long agree = checks.stream().filter(check -> check.agrees(tolerance)).count();
        line(text, agree + " of " + checks.size() + " agree within " + number(tolerance));
        return text.toString();
    }

    private static void line(StringBuilder text, String line) {
        text.append(line).append('\n');
    }

    private static String number(double value) {
        return String.format(Locale.ROOT, "%.3g", value);
    }
}
