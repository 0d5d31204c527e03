"""A JPEG's Exif orientation, read inside a TensorFlow graph.

`headers.orientation` does the same in Python, for lists of files; a served
encoder gets bytes, and there is no Python in its graph.
"""

import tensorflow as tf

_ORIENTATION_TAG = 0x0112


def orientation(encoded):
    """Returns how a JPEG has to be turned; 1 (upright) for anything else.

    Args:
        encoded: scalar string, the file's bytes.

    Returns:
        scalar int64, 1 to 8, for `decode.upright`.
    """
    size = tf.strings.length(encoded)

    def part(at, length):
        return tf.strings.substr(encoded, tf.minimum(at, size), length)

    def number(at):  # of two bytes; 0 beyond the end
        return tf.cast(_number(_integers(part(at, 2)), 0, 2), tf.int32)

    def is_exif(at):
        name = part(at + 4, 6)
        return (number(at) == 0xFFE1) & (name == b"Exif\0\0")

    def goes_on(at):
        marker = number(at)
        is_segment = (at + 4 <= size) & (marker // 256 == 0xFF)
        # 0xFFDA: the picture itself, with no more segments of interest.
        return tf.cond(
            is_segment & (marker != 0xFFDA),
            lambda: ~is_exif(at),
            lambda: False,
        )

    def next_segment(at):
        # 0xFFFF: a fill byte.
        behind = at + 2 + number(at + 2)
        return [tf.where(number(at) == 0xFFFF, at + 1, behind)]

    is_jpeg = part(0, 3) == b"\xff\xd8\xff"
    (at,) = tf.while_loop(goes_on, next_segment, [tf.where(is_jpeg, 2, size)])
    return tf.cond(
        at + 10 <= size,
        lambda: tf.cond(
            is_exif(at),
            lambda: _of_exif(
                _integers(part(at + 10, tf.maximum(number(at + 2) - 8, 0)))
            ),
            lambda: tf.constant(1, tf.int64),
        ),
        lambda: tf.constant(1, tf.int64),
    )


def _integers(text):
    """A scalar string as int64 `[bytes]`."""
    return tf.cast(tf.io.decode_raw(text, tf.uint8), tf.int64)


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
