package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.gptq.solve.Polish;
import java.util.Set;

/** Receives the work on blocks, for the clock and for progress. */
public interface Phases {

    /**
     * Starts a phase. Phases of plain GPTQ: load, forward, hessian, solve; only of steps beyond it: forward original,
     * hessian weighted, cross moments, solve variants, validate, tune.
     */
    void enter(String phase);

    /** Tokens have run forward through a block. */
    void forward(long rows);

    /** Tokens have run forward through a block up to the last of these sites. */
    void captured(Set<InputSite> sites, long rows);

    /** Tokens have entered a site's Hessian. */
    void hessian(InputSite site, long rows);

    /** Tokens have entered a site's cross moments. */
    void cross(InputSite site, long rows);

    /** A linear was solved, and the solution polished. */
    void solved(LinearSpec linear, Polish polish);

    /** Tokens have run forward and backward through a block, gradients of the weights included. */
    void learned(long rows);
}
