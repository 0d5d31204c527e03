"""The encoders to score, with the image size of each."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mec_tf.config import EvaluateConfig
from mec_tf.data.crops import usual_crop_fraction
from mec_tf.data.sources import Source
from mec_tf.errors import UserError
from mec_tf.evaluations.feature_cache import features_of
from mec_tf.evaluations.features import Features
from mec_tf.formats import encoders


class Subject(NamedTuple):
    """An encoder that is scored.

    Attributes:
        name: As the setting `encoder` has it.
        image_size: Side of the images that it sees, pixels.
        crop_fraction: Side of the centre crop, see `data.crops`.
    """

    name: str
    image_size: int
    crop_fraction: float


def make_subjects(
    names: Sequence[str],
    *,
    image_size: int | None = None,
    crop_fraction: float | None = None,
) -> tuple[Subject, ...]:
    """Finds each encoder and what it was trained at.

    Args:
        names: As `formats.encoders.open_encoder` takes them.
        image_size: Of all, pixels. Default: that of each one's training; of
            those without, that of the first.
        crop_fraction: Of all. Default: what is usual at the size.

    Raises:
        UserError: If an encoder is not there, or none has a size.
    """
    sizes = [encoders.trained_at(name) for name in names]
    first = next(filter(None, sizes), None)
    if not (image_size or first):
        raise UserError(
            "baselines alone have no size of images; give one: `image_size`=224"
        )
    sizes = [image_size or size or first for size in sizes]
    return tuple(
        Subject(name, size, crop_fraction or usual_crop_fraction(size))
        for name, size in zip(names, sizes, strict=True)
    )


def frozen_features(
    subject: Subject,
    config: EvaluateConfig,
    *sources: Source,
    opened: tuple[Callable, dict] | None = None,
) -> list[Features]:
    """Features of each source, from the cache where they are there.

    Args:
        subject: The encoder.
        config: Says how images are cropped, and where the cache is.
        *sources: Images.
        opened: The encoder, where it is open already: what
            `formats.encoders.open_encoder` returned.
    """
    encode, metadata = opened or encoders.open_encoder(subject.name)
    return [
        features_of(
            source,
            encode,
            encoder=metadata["checksum"],
            folder=config.feature_cache,
            batch_size=256,
            image_size=subject.image_size,
            crop_fraction=subject.crop_fraction,
            interpolation=config.interpolation,
            resize=config.test_resize,
        )
        for source in sources
    ]
