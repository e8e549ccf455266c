package dev.optgptq.calibrate.family;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Fills a family's description with the values of one config.json.
 *
 * @param mentioned names in the description, whether this model has the part or not
 */
record FamilyResolver(Family family, ConfigReader config, Set<String> mentioned) {

    /** More blocks than any model has: config.json is damaged, and each takes memory here. */
    private static final int MOST_BLOCKS = 100_000;

    ModelSpec resolve() {
        family.requirements().forEach(requirement -> requirement.check(family.family(), config));
        Family.Sizes sizes = family.sizes();
        int hidden = sizes.hidden().positiveInt(config);
        int count = sizes.blocks().positiveInt(config);
        if (count > MOST_BLOCKS) {
            throw config.bad(sizes.blocks().key() + " is " + count + "; expected at most " + MOST_BLOCKS);
        }
        int vocabulary = sizes.vocabulary().positiveInt(config);
        int positions = sizes.positions().positiveInt(config);
        EmbeddingSpec embedding = embedding(hidden, positions);
        HeadSpec head = head(hidden, embedding);
        BlockResolver resolver = new BlockResolver(family, config, hidden, positions);
        List<BlockSpec> blocks = new ArrayList<>();
        for (int block = 0; block < count; block++) {
            blocks.add(resolver.resolve(block));
        }
        List<String> unused = family.unused().stream()
                .map(pattern -> pattern.replace("${blocks}", Integer.toString(count))).toList();
        return new ModelSpec(family.family(), hidden, vocabulary, positions, embedding, blocks, head, unused,
                Remarks.of(family, config, mentioned));
    }

    private EmbeddingSpec embedding(int hidden, int positions) {
        Family.EmbeddingForm form = family.embedding();
        int width = Setting.optionalInt(form.width(), config, 0).orElse(hidden);
        if (width != hidden && form.projection() == null) {
            throw config.unsupported("embeddings of " + width + " elements in a model of " + hidden);
        }
        Family.LearnedForm learned = form.positions();
        return new EmbeddingSpec(form.table(), width, width == hidden ? null : form.projection(),
                Setting.optionalNumber(form.scale(), config).orElse(1.0).floatValue(),
                learned == null
                        ? null
                        : new EmbeddingSpec.Positions(learned.table(), positions + learned.offset(), learned.offset()),
                form.norm() == null ? null : NormResolver.plain(family, config, form.norm(), hidden));
    }

    private HeadSpec head(int hidden, EmbeddingSpec embedding) {
        Family.HeadForm form = family.head();
        return new HeadSpec(form.norm() == null ? null : NormResolver.plain(family, config, form.norm(), hidden),
                embedding.width() == hidden ? null : form.projection(), embedding.width(), form.module(),
                form.tied().flag(config), Setting.optionalFlag(form.bias(), config),
                Setting.optionalFlag(form.normalised(), config),
                Setting.optionalNumber(form.scale(), config).orElse(1.0).floatValue(),
                Setting.optionalNumber(form.softcap(), config).orElse(0.0).floatValue());
    }
}
