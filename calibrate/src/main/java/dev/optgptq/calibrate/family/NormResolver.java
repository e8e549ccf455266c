package dev.optgptq.calibrate.family;

import dev.optgptq.calibrate.family.Family.NormPlace;

/** Resolves norms from a family's form and the overrides of a slot. */
final class NormResolver {

    private NormResolver() {}

    /** A norm of the whole residual stream, in the family's form. */
    static NormSpec plain(Family family, ConfigReader config, String name, int width) {
        return of(family, config, new NormPlace(name, null, null, null, null, null), name, width, width);
    }

    /**
     * @param name in full
     * @param width columns of what is normalised
     * @param head columns of a head
     */
    static NormSpec of(Family family, ConfigReader config, NormPlace place, String name, int width, int head) {
        Family.NormForm form = family.norm();
        Family.Extent over = place.over() == null ? Family.Extent.ALL : place.over();
        Setting eps = place.eps() == null ? form.eps() : place.eps();
        Setting bias = place.bias() == null ? form.bias() : place.bias();
        Boolean onePlus = place.onePlus() == null ? form.onePlus() : place.onePlus();
        return new NormSpec(name, place.kind() == null ? form.kind() : place.kind(), eps(config, eps),
                Boolean.TRUE.equals(onePlus) ? 1 : 0, bias.flag(config), width,
                over == Family.Extent.ALL ? width : head, over == Family.Extent.EACH_HEAD ? width / head : 1);
    }

    private static float eps(ConfigReader config, Setting setting) {
        double eps = setting.number(config);
        if (!(eps > 0) || eps >= 1) {
            throw config.bad((setting.key().isEmpty() ? "eps of a norm" : setting.key()) + " is " + eps
                    + "; expected a number between 0 and 1");
        }
        return (float) eps;
    }
}
