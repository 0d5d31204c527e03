"""Which features of a record are its image, its label and its name."""

import tensorflow_datasets as tfds

from mec_tf.errors import UserError

# How TensorFlow Datasets' builders call an image's file.
_NAMES = ("file_name", "filename", "image/filename", "image/file_name")


def find_keys(
    info: tfds.core.DatasetInfo,
) -> tuple[str, str | None, str | None]:
    """The keys of image, class or set of classes, and file name (or None).

    Raises:
        UserError: Where no feature is an image.
    """
    features = info.features
    preferred = info.supervised_keys or (None, None)

    def first(fits, preferred=None):
        keys = [key for key in features if fits(features[key])]
        return preferred if preferred in keys else next(iter(keys), None)

    def is_image(feature):
        return isinstance(feature, tfds.features.Image)

    image_key = first(is_image, preferred[0])
    if image_key is None:
        raise UserError(
            f"{info.full_name} holds {', '.join(features)}. Expected a "
            "feature that is an image: choose another data set."
        )
    label_key = first(_is_class, preferred[1]) or first(is_class_set)
    name_key = next((key for key in _NAMES if key in features), None)
    return image_key, label_key, name_key


def _is_class(feature):
    return isinstance(feature, tfds.features.ClassLabel)


def is_class_set(feature: tfds.features.FeatureConnector) -> bool:
    """Whether a feature holds several classes of one image."""
    is_sequence = isinstance(feature, tfds.features.Sequence)
    return is_sequence and _is_class(feature.feature)
