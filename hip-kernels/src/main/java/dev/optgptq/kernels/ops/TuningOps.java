package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The ops of learned rounding (docs/algorithms.md, section 8; AutoRound, arXiv 2309.05516, and Block-AP of EfficientQAT, arXiv 2407.11062).
 * Learns a latent weight in steps of its group's scale from the zero point: the code is the rounded latent, and
 * gradients pass through the rounding unchanged (straight-through estimator, Bengio et al. 2013, arXiv 1308.3432).
 * Weights lie as in QuantOps, one row per input: latent F32 [in, out].
 */
public interface TuningOps {

    /**
     * Margin from the ends of its code's interval at which a latent starts, in steps: the first code is the given one.
     */
    float INSIDE = 0.499f;

    /**
     * The grid of latents: the code clamp(round(latent) + zero, 0, maxCode) stands for scale (code - zero).
     *
     * @param scales F32 [G, out]
     * @param zeros I32 [G, out]
     * @param groupOf I32 [1, in], the row of scales and zeros that an input uses
     */
    record LatentGrid(int maxCode, Tensor scales, Tensor zeros, Tensor groupOf) {}

    /**
     * The latent of given codes: w / scale, clamped to within INSIDE of the code. wt F32 [in, out] the weights before
     * rounding, codes U8 [in, out], latent F32 [in, out], written.
     */
    void latent(LatentGrid grid, Tensor wt, Tensor codes, Tensor latent);

    /** wt = scale clamp(round(latent), -zero, maxCode - zero), round half to even: latent, wt F32 [in, out]. */
    void roundLatent(LatentGrid grid, Tensor latent, Tensor wt);

    /** The codes of latents: latent F32 [in, out], codes U8 [in, out]. */
    void latentCodes(LatentGrid grid, Tensor latent, Tensor codes);

    /**
     * The gradient through roundLatent. d F32 [in, out] holds that for wt, and is replaced by that for latent: d scale
     * where round(latent) is a code, 0 where it was cut off. dScales F32 [G, out] += sum over the group's inputs of d
     * (code - zero), in float32.
     */
    void latentGradient(LatentGrid grid, Tensor latent, Tensor d, Tensor dScales);

    /**
     * One step of Adam (Kingma and Ba, arXiv 1412.6980), in place in parameter and moments, all F32 [r, c]:
     *
     * <pre>
     *   first = beta1 first + (1 - beta1) g;  second = beta2 second + (1 - beta2) g^2
     *   parameter -= rate |unit| (first / (1 - beta1^t)) / (sqrt(second / (1 - beta2^t)) + epsilon)
     * </pre>
     *
     * @param unit units of the parameter, element by element, F32 [r, c]; null for 1
     */
    void adam(AdamStep step, Tensor gradient, Tensor first, Tensor second, @Nullable Tensor unit, Tensor parameter);

    /**
     * The numbers of a step.
     *
     * @param rate the learning rate
     * @param t counts from 1
     */
    record AdamStep(float rate, float beta1, float beta2, float epsilon, int t) {
        public AdamStep {
            if (!(rate >= 0) || !(beta1 >= 0 && beta1 < 1) || !(beta2 >= 0 && beta2 < 1) || !(epsilon > 0) || t < 1) {
                throw new IllegalArgumentException("bad Adam step: rate " + rate + ", betas " + beta1 + ", " + beta2
                        + ", epsilon " + epsilon + ", t " + t);
            }
        }

        /** 1 / (1 - beta1^t). */
        public float firstCorrection() {
            return (float) (1 / (1 - Math.pow(beta1, t)));
        }

        /** 1 / (1 - beta2^t). */
        public float secondCorrection() {
            return (float) (1 / (1 - Math.pow(beta2, t)));
        }
    }
}
