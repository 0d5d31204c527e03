"""Which pairs of views a loss compares."""

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from mec_tf.objectives.objective import Embeddings

GLOBAL_VIEWS = 2
"""The first views of an image are global ones, the others local crops."""


def pairs(embeddings: "Embeddings") -> list[tuple[tf.Tensor, tf.Tensor]]:
    """The pairs of views that a loss compares.

    Each view's online embedding meets the target's embedding of every *other*
    global view: two pairs for two views, which symmetrises the loss, and the
    pairing of SwAV and DINO for multi-crop. Without targets the online
    embeddings meet one another, and a pair of views counts once.

    Args:
        embeddings: `objective.Embeddings` of V views, of which the first two
            are global.

    Returns:
        List of (online embeddings, embeddings that they meet), `[n, d]` each;
        every tensor is one of those given.
    """
    online, target = embeddings.online, embeddings.target
    if target is not None:
        return [
            (online[i], target[j])
            for j in range(len(target))
            for i in range(len(online))
            if i != j
        ]
    return [
        (online[i], online[j])
        for j in range(GLOBAL_VIEWS)
        for i in range(j + 1, len(online))
    ]
