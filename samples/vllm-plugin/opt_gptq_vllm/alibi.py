"""ALiBi's slopes and attention in plain Python over arrays: what the models must compute. Needs numpy alone."""

import math

import numpy as np


def slopes(heads: int, max_bias: float = 8.0) -> list[float]:
    """One slope for each query head (Press et al. 2021).

    For a power of two, slope k is 2^(-max_bias (k + 1) / heads); otherwise those of the next power of two: every second one,
    from the second, then those left out, from the first.
    """
    power = 1 << math.ceil(math.log2(heads))
    steps = [k + 1 for k in range(power)]
    if power != heads:
        steps = (steps[1::2] + steps[0::2])[:heads]
    return [2.0 ** (-max_bias * step / power) for step in steps]


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, bias: list[float]) -> np.ndarray:
    """Causal attention: q [T, heads, d], k and v [T, kvHeads, d]; query head h uses key-value head h // (heads / kvHeads)."""
    tokens, heads, _ = q.shape
    group = heads // k.shape[1]
    out = np.empty_like(q)
    distance = np.arange(tokens)[None, :] - np.arange(tokens)[:, None]
    for h in range(heads):
        scores = q[:, h] @ k[:, h // group].T * scale + bias[h] * distance
        scores[distance > 0] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        out[:, h] = weights / weights.sum(axis=1, keepdims=True) @ v[:, h // group]
    return out
