"""A seeded stratified fifth, held out where a set has no test split."""

import numpy as np

_HELD_OUT = 0.2


def hold_out(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits indices in two, each class in proportion.

    Args:
        labels: int64 `[n]`.
        seed: Decides which images are held out.

    Returns:
        The indices that are kept and those held out, int64 `[k]` each.
    """
    generator = np.random.default_rng([seed % 2**64, len(labels)])
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        held_out[members[: round(_HELD_OUT * len(members))]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
