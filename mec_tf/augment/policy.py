"""What every view goes through: crop, colour, blur; the presets, as data.

A `Policy` is a tuple of `View`s and a few numbers shared by all of them. The
two global views come first, the small local ones of multi-crop after them.
"""

import dataclasses

from mec_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class View:
    """One view: how it is cut out of the image, and what colour does to it.

    Attributes:
        size: side of the square view, in pixels.
        crop_area: least and greatest area of the crop, as a part of the image's
            (each above 0). Beyond 1 the crop may stick out of the image: the
            view zooms out, and what lies outside is black.
        crop_ratio: least and greatest width / height, drawn log-uniformly.
        flip: probability of a horizontal flip, in [0, 1].
        jitter: probability that brightness, contrast, saturation and hue are
            changed (all four, in random order), in [0, 1].
        brightness: the factor is uniform in [1 - brightness, 1 + brightness],
            not below 0.
        contrast: likewise.
        saturation: likewise.
        hue: the shift is uniform in [-hue, hue], in turns of the colour wheel,
            at most 0.5.
        grey: probability of greyscale, in [0, 1].
        blur: probability of a Gaussian blur, in [0, 1].
        blur_sigma: least and greatest standard deviation, in pixels.
        blur_taps: length of the blur's kernel, an odd number of pixels.
        solarize: probability of inverting what is brighter than the threshold.
        solarize_threshold: in [0, 1].
        noise: standard deviation of Gaussian noise, in parts of full scale.
    """

    size: int
    crop_area: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    grey: float = 0.2
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_taps: int = 23
    solarize: float = 0.0
    solarize_threshold: float = 0.5
    noise: float = 0.0

    def __post_init__(self):
        """Checks the ranges."""
        for name in ("flip", "jitter", "grey", "blur", "solarize"):
            self._require(name, 0, 1)
        for name in ("brightness", "contrast", "saturation", "noise"):
            self._require(name, 0, float("inf"))
        self._require("hue", 0, 0.5)
        self._require("solarize_threshold", 0, 1)
        for name in ("crop_area", "crop_ratio", "blur_sigma"):
            least, most = getattr(self, name)
            if not 0 < least <= most:
                raise UserError(
                    f"A view's {name} was ({least}, {most}). Expected two "
                    "numbers above 0, the lesser first."
                )
        if self.size < 1 or self.blur_taps < 1 or self.blur_taps % 2 == 0:
            raise UserError(
                f"A view's size was {self.size} and its blur_taps "
                f"{self.blur_taps}. Expected a size of at least 1 and an odd "
                "number of taps."
            )

    def _require(self, name, least, most):
        value = getattr(self, name)
        if not least <= value <= most:
            raise UserError(
                f"A view's {name} was {value}. Expected a number in "
                f"[{least}, {most}]."
            )


@dataclasses.dataclass(frozen=True)
class Policy:
    """All views of an image, and how images are shown when there is one view.

    Attributes:
        views: the two global views, then the local ones.
        mean: per channel, in [0, 1]; subtracted from every view.
        std: per channel, above 0; divides what is left.
        interpolation: "bicubic" or "bilinear", both antialiased.
    """

    views: tuple[View, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"


_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}
_DIGITS = {"mean": (0.3053,) * 3, "std": (0.3760,) * 3}
_STILL = {
    "flip": 0.0,
    "jitter": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
    "grey": 0.0,
}

# name -> what both global views share, how each differs, the policy's numbers.
_PRESETS = {
    # Table 6 of BYOL (Grill et al., 2020), which the paper follows.
    "byol": (
        {},
        ({"blur": 1.0}, {"blur": 0.1, "solarize": 0.2}),
        _IMAGENET,
    ),
    # The authors' code: a narrower crop, bilinear.
    "official_mec": (
        {"crop_area": (0.2, 1.0)},
        ({"blur": 1.0}, {"blur": 0.1, "solarize": 0.2}),
        {**_IMAGENET, "interpolation": "bilinear"},
    ),
    # Appendix B asks for no blur and is silent on the rest, which is
    # SimSiam's for CIFAR-10 (Chen and He, 2021, appendix D), as are appendix
    # B's optimiser and schedule.
    "cifar": (
        {"crop_area": (0.2, 1.0), "saturation": 0.4},
        ({}, {}),
        {**_CIFAR10, "interpolation": "bilinear"},
    ),
    # A digit has neither colour nor a mirror image; size, contrast and the
    # stroke's sharpness vary.
    "digits": (
        {
            **_STILL,
            "crop_area": (0.7, 1.3),
            "jitter": 1.0,
            "contrast": 0.3,
            "blur": 0.5,
            "blur_sigma": (0.3, 1.5),
            "blur_taps": 7,
            "noise": 0.03,
        },
        ({}, {}),
        _DIGITS,
    ),
    # The largest centred square, unchanged.
    "none": (
        {**_STILL, "crop_area": (1.0, 1.0), "crop_ratio": (1.0, 1.0)},
        ({}, {}),
        _IMAGENET,
    ),
}

PRESETS = tuple(_PRESETS)


def preset(
    name,
    *,
    image_size,
    local_crops=0,
    local_size=96,
    local_area=(0.05, 0.14),
    **overrides,
):
    """Returns a preset policy with some of its settings changed.

    With local views (multi-crop), areas are SwAV's (Caron et al., 2020): the
    global views do not crop below 0.14 of the image, the local ones not above
    it. Local views are blurred half of the time where global ones are blurred
    at all, and never solarized, as DINO's (Caron et al., 2021).

    Args:
        name: one of `PRESETS`.
        image_size: side of the two global views, in pixels.
        local_crops: how many local views; 0 or more.
        local_size: side of the local views, in pixels.
        local_area: least and greatest area of the local crops, as a part of the
            image's.
        **overrides: values for fields of `Policy`, or of `View`: for every
            view, or a pair for the two global views where the field is one
            number. A crop area is the global views'.

    Returns:
        A `Policy`.

    Raises:
        UserError: for an unknown name or field, or a value out of its range.
    """
    if name not in _PRESETS:
        raise UserError(
            f"Unknown preset of views: {name!r}. Expected one of "
            f"{', '.join(PRESETS)}."
        )
    if local_crops < 0:
        raise UserError(
            f"{local_crops} local views were asked for. Expected 0 or more."
        )
    shared, each, numbers = _PRESETS[name]
    of_policy, of_views = _sort_by_owner(overrides)

    views = []
    for number, own in enumerate(each):
        fields = {**_sized(image_size), **shared, **own}
        if local_crops and "crop_area" not in of_views:
            least, most = fields.get("crop_area", View.crop_area)
            fields["crop_area"] = (max(least, local_area[1]), most)
        for field, value in of_views.items():
            fields[field] = value[number] if _is_pair(field, value) else value
        views.append(View(**fields))
    if local_crops:
        blur = 0.5 if any(view.blur > 0 for view in views) else 0.0
        local = {**_sized(local_size), **shared, "blur": blur}
        local |= {
            field: value
            for field, value in of_views.items()
            if not _is_pair(field, value)
        }
        local["crop_area"] = local_area
        views += [View(**local)] * local_crops
    return Policy(views=tuple(views), **{**numbers, **of_policy})


def _sized(size):
    """A blur's kernel is a tenth of the image long: 23 taps at 224 pixels."""
    return {"size": size, "blur_taps": size // 10 | 1}


def _is_pair(field, value):
    """Whether a value holds one number for each of the global views."""
    default = View.__dataclass_fields__[field].default
    return isinstance(value, tuple | list) and not isinstance(default, tuple)


def _sort_by_owner(overrides):
    """Splits overrides in (those of `Policy`, those of `View`)."""
    settable = {
        owner: {field.name for field in dataclasses.fields(owner)}
        - {"views", "size"}
        for owner in (Policy, View)
    }
    unknown = set(overrides) - settable[Policy] - settable[View]
    if unknown:
        raise UserError(
            f"Unknown settings of views: {', '.join(sorted(unknown))}. "
            "Expected some of "
            f"{', '.join(sorted(settable[Policy] | settable[View]))}."
        )
    return tuple(
        {key: overrides[key] for key in overrides if key in settable[owner]}
        for owner in (Policy, View)
    )
