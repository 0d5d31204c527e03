"""Suites of transfer data sets, with splits and metrics.

Splits and metrics are those of Kornblith et al., "Do Better ImageNet Models
Transfer Better?" (CVPR 2019), table 1, which SimCLR, BYOL and MEC follow. Where
TensorFlow Datasets has a validation split of its own, it is trained on, too.
"""

from typing import NamedTuple


class Transfer(NamedTuple):
    """One set.

    Attributes:
        name: Short.
        dataset: Of `data.sources.load`.
        train_split: TensorFlow Datasets' name of what is trained on.
        test_split: Of what is scored.
        metric: Of `evaluations.metrics.METRICS`.
        images: How many the literature trains and tests on.
    """

    name: str
    dataset: str
    train_split: str
    test_split: str
    metric: str
    images: tuple[int, int]


class Published(NamedTuple):
    """Published results of a suite, of ResNet-50 pretrained on ImageNet.

    Attributes:
        method: Whose encoder.
        source: Where the numbers stand.
        scores: Per cent, in the suite's order and its metrics.
    """

    method: str
    source: str
    scores: tuple[float, ...]


_BOTH = "train+validation"
SUITES = {
    "paper": (
        Transfer(
            "food101",
            "tfds:food101",
            "train",
            "validation",
            "top1",
            (75_750, 25_250),
        ),
        Transfer(
            "cifar10", "tfds:cifar10", "train", "test", "top1", (50_000, 10_000)
        ),
        Transfer(
            "cifar100",
            "tfds:cifar100",
            "train",
            "test",
            "top1",
            (50_000, 10_000),
        ),
        # The first of the set's ten published partitions.
        Transfer(
            "sun397",
            "tfds:sun397/standard-part1-120k",
            "train",
            "test",
            "top1",
            (19_850, 19_850),
        ),
        Transfer(
            "cars", "tfds:cars196", "train", "test", "top1", (8_144, 8_041)
        ),
        # mec_tf.data.sources.fgvc_aircraft prepares it.
        Transfer(
            "aircraft",
            "tfds:fgvc_aircraft",
            _BOTH,
            "test",
            "mean_per_class",
            (6_667, 3_333),
        ),
        Transfer(
            "voc2007", "tfds:voc/2007", _BOTH, "test", "map11", (5_011, 4_952)
        ),
        # The first of ten partitions.
        Transfer("dtd", "tfds:dtd", _BOTH, "test", "top1", (3_760, 1_880)),
        Transfer(
            "pets",
            "tfds:oxford_iiit_pet",
            "train",
            "test",
            "mean_per_class",
            (3_680, 3_669),
        ),
        # 30 images of each class, drawn by TensorFlow Datasets.
        Transfer(
            "caltech101",
            "tfds:caltech101",
            "train",
            "test",
            "mean_per_class",
            (3_060, 6_084),
        ),
        Transfer(
            "flowers",
            "tfds:oxford_flowers102",
            _BOTH,
            "test",
            "mean_per_class",
            (2_040, 6_149),
        ),
    )
}

# Grill et al., arXiv:2006.07733; linear there is logistic regression. Birdsnap,
# which MEC does without, is left out.
_BYOL = "BYOL, Table 3"
_LINEAR = (
    Published(
        "BYOL",
        _BYOL,
        (75.3, 91.3, 78.4, 62.2, 67.8, 60.6, 82.5, 75.5, 90.4, 94.2, 96.1),
    ),
    Published(
        "SimCLR, reproduced",
        _BYOL,
        (72.8, 90.5, 74.4, 60.6, 49.3, 49.8, 81.4, 75.7, 84.6, 89.3, 92.6),
    ),
    Published(
        "SimCLR",
        _BYOL,
        (68.4, 90.6, 71.6, 58.8, 50.3, 50.3, 80.5, 74.5, 83.6, 90.3, 91.2),
    ),
    Published(
        "supervised",
        _BYOL,
        (72.3, 93.6, 78.3, 61.9, 66.7, 61.0, 82.8, 74.9, 91.5, 94.5, 94.7),
    ),
)
_FINETUNED = (
    Published(
        "BYOL",
        _BYOL,
        (88.5, 97.8, 86.1, 63.7, 91.6, 88.1, 85.4, 76.2, 91.7, 93.8, 97.0),
    ),
    Published(
        "SimCLR, reproduced",
        _BYOL,
        (87.5, 97.4, 85.3, 63.9, 91.4, 87.6, 84.5, 75.4, 89.4, 91.7, 96.6),
    ),
    Published(
        "SimCLR",
        _BYOL,
        (88.2, 97.7, 85.9, 63.5, 91.3, 88.1, 84.1, 73.2, 89.2, 92.1, 97.0),
    ),
    Published(
        "supervised",
        _BYOL,
        (88.3, 97.5, 86.4, 64.3, 92.1, 86.0, 85.0, 74.6, 92.1, 93.3, 97.6),
    ),
    Published(
        "untrained",
        _BYOL,
        (86.9, 95.9, 80.2, 53.6, 91.4, 85.9, 67.3, 64.8, 81.5, 72.6, 92.0),
    ),
)
PUBLISHED = {
    "paper": {
        "linear": _LINEAR,
        "logistic": _LINEAR,
        "finetune": _FINETUNED,
    }
}
