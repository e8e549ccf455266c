package dev.optgptq.gptq.run;

import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.journal.Identity;
import dev.optgptq.gptq.run.resume.RunIdentity;
import dev.optgptq.kernels.ranks.Ranks;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/** What all ranks must have in common before anything is computed: else the result would depend on which of them did what. */
final class Agreement {

    private static final String SEPARATOR = "\t";

    private Agreement() {}

    /**
     * Compares the settings, the build, the device's arithmetic and the model of all ranks. Throws UserError DEVICE, the same on every
     * rank, that names the rank that differs and in what.
     */
    static void require(RunContext run) {
        Ranks ranks = run.ranks();
        if (!ranks.areSeveral()) {
            return;
        }
        List<String> all = ranks
                .exchange(text(RunIdentity.ofRank(run.settings(), run.grids(), run.matmulDtype(), run.memory(),
                        run.caller().origin(), run.device(), run.source(), run.texts().calibration())));
        Identity first = identity(all.getFirst());
        for (int rank = 1; rank < all.size(); rank++) {
            List<String> changes = identity(all.get(rank)).changesSince(first);
            if (!changes.isEmpty()) {
                throw new UserError(UserError.Code.DEVICE, ranks.name(rank) + " would not compute what " + ranks.name(0)
                        + " does, where " + String.join("; ", changes)
                        + " here. Start every rank from the same installation, on devices of one kind, with the same command "
                        + "and the same model files");
            }
        }
    }

    private static String text(Identity identity) {
        StringBuilder text = new StringBuilder();
        identity.facts().forEach((name, value) -> text.append(name).append(SEPARATOR)
                .append(value.replace("\n", " ").replace(SEPARATOR, " ")).append('\n'));
        return text.toString();
    }

    private static Identity identity(String text) {
        SequencedMap<String, String> facts = new LinkedHashMap<>();
        text.lines().map(line -> line.split(SEPARATOR, 2)).forEach(fact -> facts.put(fact[0], fact[1]));
        return new Identity(facts);
    }
}
