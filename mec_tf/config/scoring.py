"""Settings of labels, metrics and test crops."""

import dataclasses

from mec_tf import choices
from mec_tf.config.config import Config
from mec_tf.config.setting import setting
from mec_tf.config.views import Range, check_range


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels(Config):
    """Labels."""

    label_fraction: float = setting(
        1.0,
        "Share of each class's training labels that is used, in (0, 1]; at"
        " least one image of each. Where images are of several classes: share"
        " of all images.",
        above=0,
        most=1,
    )
    split_file: str | None = setting(
        None,
        "File that lists the labelled training images by name, one per line,"
        " such as SimCLR's 1 % and 10 % of ImageNet.",
        path=True,
    )
    validation_fraction: float | None = setting(
        None,
        "Share of each class's training images, in [0, 0.9], that chooses the"
        " penalty (logistic; default 0.2) or the rate (linear; default 0: the"
        " test images that are scored also choose, as often on ImageNet;"
        " chosen_on in the JSON says so). What was chosen then learns from all"
        " training images, which takes linear twice as long.",
        least=0,
        most=0.9,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crops(Config):
    """Crops."""

    test_resize: str = setting(
        "short",
        "How test images are resized before the centre crop. short: the short"
        " side, as the MEC authors' code; square: both, as the paper.",
        choices=choices.TEST_RESIZES,
    )
    crop_fraction: float | None = setting(
        None,
        "Side of the centre crop, share of the resized image's, in (0, 1]."
        " Default: 0.875 (224 of 256) from 160 pixels up, else 1.",
        least=0.01,
        most=1,
    )
    interpolation: str = setting(
        "bicubic",
        "How images are resampled; the MEC authors' code: bilinear.",
        choices=choices.INTERPOLATIONS,
    )
    crop_area: Range = setting(
        (0.08, 1.0),
        "Least,greatest area of the crop that linear and finetune train on,"
        " share of the image's.",
    )
    flip: float = setting(
        0.5,
        "Probability that linear and finetune flip a training image.",
        least=0,
        most=1,
    )

    def _check(self) -> None:
        check_range("crop_area", self.crop_area)
