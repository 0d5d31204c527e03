"""Decodes JPEG, PNG, BMP, GIF and WebP to uint8 RGB.

The file's first bytes decide, never its name: sets such as ImageNet hold PNG
files under .JPEG names. Whole images only: a file that was cut off is an error.
"""

import tensorflow as tf

# The decoder's default is the fast transform, which saves a twentieth of the
# time and differs from what Pillow and torchvision show.
_TRANSFORM = "INTEGER_ACCURATE"


def is_jpeg(encoded):
    """Returns a scalar bool: whether the bytes begin as a JPEG's do."""
    return tf.strings.substr(encoded, 0, 3) == b"\xff\xd8\xff"


def ends_as_jpeg(encoded):
    """Returns a scalar bool: whether the bytes end in a JPEG's end marker.

    A file that was cut off does not. Neither does a whole one with something
    behind it, which is legal.

    Args:
        encoded: scalar string, the file's bytes.
    """
    begin = tf.maximum(tf.strings.length(encoded) - 2, 0)
    return tf.strings.substr(encoded, begin, 2) == b"\xff\xd9"


def decode(encoded):
    """Decodes JPEG, PNG, BMP, a still WebP or a GIF's first frame.

    Greyscale is repeated over the channels, CMYK converted, 16-bit PNG cut to
    its upper 8 bits, transparency dropped and what lies under it kept (as by
    Pillow's `convert("RGB")`). Exif is not looked at: see `upright`.

    Args:
        encoded: scalar string, the file's bytes.

    Returns:
        uint8 `[h, w, 3]`.

    Raises:
        tf.errors.InvalidArgumentError: where the bytes are no such image, or a
            part of one.
    """

    def decode_other():
        # Of a WebP with transparency three channels are refused, and of other
        # kinds as many as there are would not always be three.
        return tf.cond(
            _is_still_webp(encoded),
            lambda: tf.io.decode_image(encoded, expand_animations=False),
            lambda: tf.io.decode_image(
                encoded, channels=3, expand_animations=False
            ),
        )[..., :3]

    image = tf.cond(
        is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method=_TRANSFORM),
        decode_other,
    )
    return tf.ensure_shape(image, [None, None, 3])


def _is_still_webp(encoded):
    # TensorFlow writes an animation's frames beyond the memory that it takes
    # for them, unless it is asked for three channels, which it refuses.
    head = tf.strings.join([tf.strings.substr(encoded, 0, 21), b"\0" * 21])
    flags = tf.io.decode_raw(tf.strings.substr(head, 20, 1), tf.uint8)[0]
    is_animated = (tf.strings.substr(head, 12, 4) == b"VP8X") & (
        tf.bitwise.bitwise_and(flags, tf.constant(2, tf.uint8)) > 0
    )
    return (
        (tf.strings.substr(head, 0, 4) == b"RIFF")
        & (tf.strings.substr(head, 8, 4) == b"WEBP")
        & ~is_animated
    )


def jpeg_shape(encoded):
    """Returns a JPEG's height and width, int32 `[2]`, from its header."""
    return tf.io.extract_jpeg_shape(encoded)[:2]


def decode_jpeg_window(encoded, window):
    """Decodes a part of a JPEG, which costs about as much as the part.

    What lies below the part is not looked at: whether the file is whole, see
    `ends_as_jpeg`.

    Args:
        encoded: scalar string, the file's bytes.
        window: int32 `[4]`: top, left, height, width in pixels, inside the
            image.

    Returns:
        uint8 `[height, width, 3]`.
    """
    return tf.io.decode_and_crop_jpeg(
        encoded, window, channels=3, dct_method=_TRANSFORM
    )


def upright(image, orientation):
    """Turns an image as its Exif orientation asks.

    Args:
        image: uint8 `[h, w, 3]`.
        orientation: scalar int, 1 (upright) to 8.

    Returns:
        uint8 `[h, w, 3]` or `[w, h, 3]`.
    """
    return tf.switch_case(
        tf.cast(orientation, tf.int32) - 1,
        [
            lambda: image,
            lambda: image[:, ::-1],
            lambda: image[::-1, ::-1],
            lambda: image[::-1],
            lambda: tf.transpose(image, [1, 0, 2]),
            lambda: tf.transpose(image[::-1], [1, 0, 2]),
            lambda: tf.transpose(image[::-1, ::-1], [1, 0, 2]),
            lambda: tf.transpose(image[:, ::-1], [1, 0, 2]),
        ],
    )
