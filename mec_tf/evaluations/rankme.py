"""RankMe: how many dimensions a representation uses, without labels."""

from typing import Any

import numpy as np


def rankme(embeddings: Any) -> float:
    """Effective rank of embeddings.

    exp of the entropy of the normalised singular values (Garrido et al.,
    "RankMe", ICML 2023, eq. 1): 1 when all embeddings are multiples of one
    vector, min(n, d) when all directions weigh the same.

    Args:
        embeddings: `[n, d]`, not normalised.

    Returns:
        float in [1, min(n, d)].
    """
    singular = np.linalg.svd(
        np.asarray(embeddings, np.float64), compute_uv=False
    )
    shares = singular / max(singular.sum(), np.finfo(np.float64).tiny) + 1e-7
    return float(np.exp(-np.sum(shares * np.log(shares))))
