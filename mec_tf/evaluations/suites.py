"""Lists of sets that an encoder is transferred to, with split and metric.

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
        # mec_tf.data.fgvc_aircraft prepares it.
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
