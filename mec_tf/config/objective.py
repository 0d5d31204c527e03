"""Settings of the objective."""

import dataclasses
from typing import Literal

from mec_tf import choices
from mec_tf.config.config import Config
from mec_tf.config.setting import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective(Config):
    """Objective."""

    objective: str = setting("mec", "The loss.", choices=choices.OBJECTIVES)
    distortion: float = setting(
        0.06,
        "epsilon_d squared, the allowed mean squared distortion per dimension,"
        " above 0; lambda = 1 / (batch_size * distortion).",
        above=0,
    )
    taylor_order: int | Literal["exact"] = setting(
        4,
        "Terms of the series of eq. (2); exact or 0: the exact log-det,"
        " eq. (1).",
        least=1,
        zero="exact",
    )
    mec_series: str = setting(
        "taylor",
        "taylor: the paper's series, about 0, which needs the guard."
        " chebyshev: a polynomial of as many terms that holds on the whole"
        " spectrum of C at the distortion that was asked for, and needs none.",
        choices=choices.MEC_SERIES,
    )
    mec_form: str = setting(
        "auto",
        "Side of the matrix: batch-wise [m, m], feature-wise [d, d], or the"
        " cheaper one. All give the same value.",
        choices=choices.MEC_FORMS,
    )
    embedding_norm: str = setting(
        "l2",
        "l2: every embedding gets length 1. batch: every dimension is"
        " standardised over the global batch and divided by sqrt(d).",
        choices=choices.EMBEDDING_NORMS,
    )
    lambda_warmup_epochs: float = setting(
        10.0,
        "Epochs over which 1/lambda falls linearly from 8 times its value.",
        least=0,
    )
    convergence_guard: bool = setting(
        True,
        "Raise the distortion of a step where the Taylor series would leave its"
        " region of convergence (no effect at `taylor_order`=exact or"
        " `mec_series`=chebyshev).",
    )
