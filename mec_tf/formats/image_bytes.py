"""Preprocessing of encoded images inside an encoder's graph, for serving.

Decoding, orientation, resizing and cropping are those of `mec_tf.evaluate`, so
that a server gives the same features for the same files.
"""

import tensorflow as tf

from mec_tf.data import crops, decode, exif


def read_images(encoded, image_size):
    """Decodes a batch of files to their centre crops.

    Args:
        encoded: string `[n]`, n >= 0: JPEG, PNG, BMP, still WebP or GIF, as
            `data.decode` takes them, of any sizes. JPEGs are turned as their
            Exif asks.
        image_size: Side of the crops, pixels.

    Returns:
        float32 RGB `[n, image_size, image_size, 3]` in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: If files cannot be decoded; the message
            names their indices.
    """

    def read(index, file):
        image = decode.upright(decode.decode(file), exif.orientation(file))
        crop = crops.centre_crop(
            image,
            size=image_size,
            crop_fraction=crops.usual_crop_fraction(image_size),
            interpolation="bicubic",
        )
        return index, crop

    # In a graph nothing but a dataset can pass over an error, and it decodes
    # on all cores. The blank is for a batch of none but bad ones.
    blank = tf.data.Dataset.from_tensors(
        (
            tf.constant(-1, tf.int64),
            tf.zeros([image_size, image_size, 3], tf.uint8),
        )
    )
    n = tf.size(encoded, tf.int64)
    indices, images = (
        tf.data.Dataset.from_tensor_slices(encoded)
        .enumerate()
        .map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .ignore_errors()
        .concatenate(blank)
        .batch(n + 1)
        .get_single_element()
    )
    unread = tf.sets.difference(tf.range(n)[None], indices[None, :-1]).values
    whole = tf.debugging.Assert(
        tf.size(unread) == 0,
        [
            "Received a batch whose images at these indices cannot be decoded:",
            unread,
            "Expected whole JPEG or PNG files; leave out or mend these.",
        ],
        summarize=20,
    )
    with tf.control_dependencies([whole]):
        return tf.cast(images[:-1], tf.float32) / 255.0
