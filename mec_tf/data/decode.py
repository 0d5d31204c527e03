"""From an encoded image of whatever kind to uint8 RGB.

The file's first bytes decide, never its name: sets such as ImageNet hold PNG
files under .JPEG names.
"""

import tensorflow as tf


def decode(encoded):
    """Decodes JPEG, PNG, BMP or a GIF's first frame.

    Greyscale is repeated over the channels, CMYK converted, 16-bit PNG cut to
    its upper 8 bits, transparency dropped: as Pillow's `convert("RGB")`.

    Args:
      encoded: scalar string, the file's bytes.

    Returns:
      uint8 `[h, w, 3]`.

    Raises:
      tf.errors.InvalidArgumentError: where the bytes are no such image, or one
        that was cut off.
    """
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])
