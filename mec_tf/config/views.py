"""Settings of views: crops and augmentations."""

import dataclasses

from mec_tf import choices
from mec_tf.config.config import Config
from mec_tf.config.setting import setting
from mec_tf.errors import UserError

# One number for all views, or one for the first and one for the second.
OneOrTwo = float | tuple[float, float]
# Least, greatest.
Range = tuple[float, float]

AUGMENTATIONS = (
    "crop_area",
    "crop_ratio",
    "flip",
    "jitter",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "grey",
    "blur",
    "blur_sigma",
    "solarize",
    "noise",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views(Config):
    """Views."""

    views: str = setting(
        "byol",
        "Preset of the augmentations; the flags named after them overrule"
        " it with one number for all views, or two for the first and the"
        " second.",
        choices=choices.VIEWS,
    )
    local_crops: int = setting(
        0, "Small views per image (multi-crop).", least=0
    )
    local_size: int = setting(96, "Side of the small views, pixels.", least=1)
    crop_interpolation: str | None = setting(
        None,
        "How crops are resampled, antialiased. Default: the preset's.",
        choices=choices.INTERPOLATIONS,
    )
    crop_area: Range | None = setting(
        None,
        "Least,greatest area of the crop, share of the image's. Default: the"
        " preset's.",
    )
    crop_ratio: Range | None = setting(
        None,
        "Least,greatest width / height of the crop. Default: the preset's.",
    )
    flip: OneOrTwo | None = setting(
        None, "Probability of a horizontal flip. Default: the preset's."
    )
    jitter: OneOrTwo | None = setting(
        None, "Probability of the colour jitter. Default: the preset's."
    )
    brightness: OneOrTwo | None = setting(
        None, "The factor is within 1 -/+ this. Default: the preset's."
    )
    contrast: OneOrTwo | None = setting(
        None, "The factor is within 1 -/+ this. Default: the preset's."
    )
    saturation: OneOrTwo | None = setting(
        None, "The factor is within 1 -/+ this. Default: the preset's."
    )
    hue: OneOrTwo | None = setting(
        None,
        "The shift is within -/+ this, turns, at most 0.5. Default: the"
        " preset's.",
    )
    grey: OneOrTwo | None = setting(
        None, "Probability of greyscale. Default: the preset's."
    )
    blur: OneOrTwo | None = setting(
        None, "Probability of the blur. Default: the preset's."
    )
    blur_sigma: Range | None = setting(
        None,
        "Least,greatest standard deviation of the blur, pixels. Default: the"
        " preset's.",
    )
    solarize: OneOrTwo | None = setting(
        None, "Probability of solarization. Default: the preset's."
    )
    noise: OneOrTwo | None = setting(
        None,
        "Standard deviation of noise, share of full scale. Default: the"
        " preset's.",
    )

    def policy_options(self) -> dict[str, object]:
        """Keyword arguments of `augment.policy.preset`, less `image_size`."""
        options = {
            "name": self.views,
            "local_crops": self.local_crops,
            "local_size": self.local_size,
        }
        for name in AUGMENTATIONS:
            if getattr(self, name) is not None:
                options[name] = getattr(self, name)
        if self.crop_interpolation:
            options["interpolation"] = self.crop_interpolation
        return options

    def _check(self) -> None:
        for name in ("crop_area", "crop_ratio", "blur_sigma"):
            check_range(name, getattr(self, name))


def check_range(name: str, value: Range | None) -> None:
    """Refuses a range that is empty or begins at 0 or below.

    Raises:
        UserError: If it is not two numbers above 0, the lesser first.
    """
    if value is not None and not 0 < value[0] <= value[1]:
        raise UserError(
            f"`{name}`={value[0]:g},{value[1]:g} must be two numbers above 0,"
            " the lesser first"
        )
