"""Why an image cannot be read."""

from collections.abc import Callable

import tensorflow as tf

from mec_tf.data import headers
from mec_tf.data.bad_images import Lost
from mec_tf.data.decode import decode


def reason(read: Callable, index: int) -> str:
    """Reads an image again to see why it could not be read.

    Args:
        read: As `Source.read`.
        index: Of the image.

    Returns:
        What is said of the image; a `Lost` where it cannot be reached.
    """
    header = b""
    try:
        data = read(tf.constant(index, tf.int64))
        header = data.numpy()[: headers.LENGTH]
        decode(data)
    except tf.errors.InvalidArgumentError:
        return headers.objection(header) or "the image is damaged or cut off"
    except tf.errors.OpError as error:
        return Lost(error.message)
    return "it could be read only at the second try"
