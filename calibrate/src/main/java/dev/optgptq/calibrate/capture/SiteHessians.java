package dev.optgptq.calibrate.capture;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.kernels.Tensor;

/** The Hessians of a block's sites, complete, for those who solve its linears. */
public interface SiteHessians {

    /** Both triangles, F32 [n, n]; the caller may overwrite it, and finds what it wrote when it asks again. */
    Tensor hessian(InputSite site);

    /** The largest input magnitude, and how many tokens passed. */
    Activity activity(InputSite site);

    /** Frees a site's Hessian before the others. */
    void release(InputSite site);
}
