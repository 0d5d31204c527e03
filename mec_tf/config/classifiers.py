"""Settings of kNN and of the protocols that fit a classifier."""

import dataclasses

from mec_tf import choices
from mec_tf.config.config import Config
from mec_tf.config.setting import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Neighbours(Config):
    """Nearest neighbours."""

    knn_k: int = setting(20, "Neighbours that vote.", least=1)
    knn_temperature: float = setting(
        0.07,
        "Of the votes, above 0; inf: all weigh the same.",
        above=0,
        infinite=True,
    )
    knn_metric: str = setting(
        "cosine",
        "cosine: votes exp(s / temperature). euclidean: exp(-d^2 / (2"
        " temperature)).",
        choices=choices.KNN_METRICS,
    )
    labels_per_class: int | None = setting(
        None,
        "knn: also score 1-NN with this many labelled references per class, the"
        " mean of 20 draws; none or 0: do not.",
        least=1,
        zero="none",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifiers(Config):
    """Classifiers."""

    penalties: int = setting(
        45,
        "logistic: penalties to try, log-spaced in [1e-6, 1e5].",
        least=2,
    )
    batch_size: int | None = setting(
        None,
        "Images per step, over all devices. Default: 4096 (linear), 1024"
        " (finetune); a smaller set is one batch, which is said.",
        least=1,
    )
    epochs: int | None = setting(
        None,
        "Passes over the labelled images. Default: 100 (linear), 50"
        " (finetune).",
        least=1,
    )
    steps: int | None = setting(
        None,
        "linear, finetune: training steps; none or 0: as `epochs` say.",
        least=1,
        zero="none",
    )
    base_lr: float = setting(
        0.05,
        "finetune: peak rate per 256 images; it falls to 0 by a cosine.",
        least=0,
    )
    head_lr: tuple[float, ...] | None = setting(
        None,
        "Peak rate of the head per 256 images. linear: several train side by"
        " side and the best counts (default 0.03,0.1,0.3,1,3). finetune: one"
        " (default: `base_lr`).",
        above=0,
    )
    weight_decay: float = setting(0.0, "Coupled (L2) weight decay.", least=0)
    feature_norm: bool = setting(
        False,
        "linear: standardise features by a batch norm without affine (epsilon"
        " 1e-6), as the MEC authors' code.",
    )
