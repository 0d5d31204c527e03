"""The losses: one short file each, stateless, on TensorFlow alone."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from mec_tf.objectives.mec import mec_loss


class Objective(NamedTuple):
    """A loss, and the network that it cannot do without.

    Attributes:
        loss: `(z1, z2, *, replicas, ...) -> scalar` of raw embeddings `[n, d]`;
            the keywords that it takes beyond `replicas` are its own.
        needs_target: whether it collapses without a slow target network.
        needs_predictor: whether it collapses without a predictor.
    """

    loss: Callable[..., tf.Tensor]
    needs_target: bool
    needs_predictor: bool


OBJECTIVES = {
    # From order 2 on, and exact, MEC keeps embeddings apart by itself.
    "mec": Objective(mec_loss, needs_target=False, needs_predictor=False),
}


def get(name):
    """Looks an objective up by name.

    Args:
        name: a key of `OBJECTIVES`.

    Returns:
        Its `Objective`.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if name not in OBJECTIVES:
        known = ", ".join(sorted(OBJECTIVES))
        raise ValueError(f"No objective is called {name!r}; known are {known}.")
    return OBJECTIVES[name]
