"""A JPEG's Exif orientation, read inside a TensorFlow graph.

`headers.orientation` does the same in Python, for lists of files; a served
encoder gets bytes, and there is no Python in its graph.
"""

import tensorflow as tf

from mec_tf.data.headers import LENGTH

_ORIENTATION_TAG = 0x0112


def orientation(encoded):
    """Returns how a JPEG has to be turned; 1 (upright) for anything else.

    Args:
      encoded: scalar string, the file's bytes.

    Returns:
      scalar int64, 1 to 8, for `decode.upright`.
    """
    header = tf.strings.substr(encoded, 0, LENGTH)
    data = tf.cast(tf.io.decode_raw(header, tf.uint8), tf.int64)
    size = tf.size(data, tf.int64)

    def is_exif(at):
        name = tf.strings.substr(header, at + 4, 6)
        return (_number(data, at, 2) == 0xFFE1) & (name == b"Exif\0\0")

    def goes_on(at):
        marker = _number(data, at, 2)
        is_segment = (at + 4 <= size) & (marker // 256 == 0xFF)
        # 0xFFDA: the picture itself, with no more segments of interest.
        return tf.cond(
            is_segment & (marker != 0xFFDA),
            lambda: ~is_exif(at),
            lambda: False,
        )

    def next_segment(at):
        return [at + 2 + _number(data, at + 2, 2)]

    is_jpeg = _number(data, 0, 3) == 0xFFD8FF
    (at,) = tf.while_loop(
        goes_on,
        next_segment,
        [tf.where(is_jpeg, tf.constant(2, tf.int64), size)],
    )
    return tf.cond(
        at + 10 <= size,
        lambda: tf.cond(
            is_exif(at),
            lambda: _of_exif(data[at + 10 : at + 2 + _number(data, at + 2, 2)]),
            lambda: tf.constant(1, tf.int64),
        ),
        lambda: tf.constant(1, tf.int64),
    )


def _of_exif(data):
    """The orientation that Exif data, int64 `[k]`, tell."""
    order = _number(data, 0, 2)
    little = order == 0x4949  # "II"; "MM" is big-endian

    def number(at, size):
        return tf.where(
            little,
            _number(data, at, size, little=True),
            _number(data, at, size),
        )

    directory = number(4, 4)
    entries = directory + 2 + 12 * tf.range(number(directory, 2))
    found = tf.boolean_mask(entries, number(entries, 2) == _ORIENTATION_TAG)
    # Without the tag, a field beyond the end: 0, as of a cut-off header.
    at = tf.concat([found, [tf.size(data, tf.int64)]], axis=0)[0]
    value = number(at + 8, 2)
    known = (little | (order == 0x4D4D)) & (value >= 1) & (value <= 8)
    return tf.where(known, value, 1)


def _number(data, at, size, little=False):
    """Unsigned numbers of `size` bytes at places `at`; 0 beyond the end."""
    at = tf.convert_to_tensor(at, tf.int64)
    places = at[..., None] + tf.range(size, dtype=tf.int64)
    end = tf.size(data, tf.int64)
    values = tf.gather(tf.pad(data, [[0, 1]]), tf.minimum(places, end))
    powers = range(size) if little else range(size - 1, -1, -1)
    weights = tf.constant([256**power for power in powers], tf.int64)
    return tf.where(at + size <= end, tf.reduce_sum(values * weights, -1), 0)
