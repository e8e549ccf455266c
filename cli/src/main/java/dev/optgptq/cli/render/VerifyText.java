package dev.optgptq.cli.render;

import dev.optgptq.gptq.verify.Verification;

/** What verify prints: a line for each check. */
public final class VerifyText {

    private VerifyText() {}

    public static String of(Verification found) {
        StringBuilder text = new StringBuilder();
        for (Verification.Check check : found.checks()) {
            text.append(check.passed() ? "passed  " : "MISSED  ").append(check.name()).append(": ")
                    .append(check.detail())
                    .append('\n');
        }
        return text.toString();
    }
}
