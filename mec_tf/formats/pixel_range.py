"""Converts images of any dtype to float32 in [0, 1], and checks their range.

Pixels of another range would silently give wrong features. For uint8 the dtype
determines the range; for floats the values are checked.
"""

import tensorflow as tf
from keras import ops

from mec_tf.errors import UserError
from mec_tf.models.encoder import backbone_of, join, normalization_of

# What resampling and colour jitter may do to images in [0, 1], and what images
# in [-1, 1], in [0, 255] or normalised by a mean do not keep to.
LOWEST, HIGHEST = -0.5, 1.5
# Images above this are in [0, 255].
_OF_BYTES = 2.0


def to_unit_range(images):
    """Scales uint8, casts other dtypes, refuses values far outside [0, 1].

    Args:
        images: Tensor or array `[n, h, w, 3]`, n >= 0: uint8 in [0, 255], or
            another dtype in [0, 1] (down to -0.5 and up to 1.5).

    Returns:
        float32 `[n, h, w, 3]` in [0, 1], of floats as they were.

    Raises:
        UserError: If values are outside; where a graph is traced, this one
            raises `tf.errors.InvalidArgumentError` when it runs.
    """
    images = tf.convert_to_tensor(images)
    of_bytes = images.dtype == tf.uint8
    images = as_float32(images)
    if of_bytes:
        return images
    lowest, highest = tf.reduce_min(images), tf.reduce_max(images)
    inside = (lowest >= LOWEST) & (highest <= HIGHEST)
    if not tf.executing_eagerly():
        message = ["Received images with values from", lowest, "to", highest]
        message.append("Expected floats in [0, 1], or uint8: scale the images.")
        # The public one adds two functions to each graph, which take as long
        # to load as a network.
        refusal = tf.raw_ops.Assert(condition=inside, data=message)
        with tf.control_dependencies([refusal]):
            return tf.identity(images)
    if not inside:
        raise UserError(
            f"Received images with values from {lowest:.3g} to {highest:.3g};"
            " expected floats in [0, 1], or uint8. Scale the images."
        )
    return images


def as_float32(images):
    """Scales uint8 to [0, 1] and casts other dtypes; checks nothing.

    Args:
        images: Tensor `[n, h, w, 3]`.

    Returns:
        float32 of the same shape.
    """
    values = tf.cast(images, tf.float32)
    return values / 255.0 if images.dtype == tf.uint8 else values


def guess_unit_range(images):
    """Like `to_unit_range`, of operations that every Keras backend has.

    A Keras model's input is float32 before its first layer runs, whatever it
    was given, and no operation of Keras can refuse. So the values decide, and
    features of what is refused are NaN.

    Args:
        images: `keras.KerasTensor` float32 `[n, h, w, 3]`, n >= 1.

    Returns:
        Likewise. Each image in [0, 255] (its largest value is at least 2, or
        another's of the batch is and it has whole numbers only) is divided by
        255; one in [0, 1] is as it was; others are NaN, among them images in
        [0, 1] beside others in [0, 255], if they have fractions.
    """
    axes = (1, 2, 3)
    lowest = ops.min(images, axis=axes, keepdims=True)
    highest = ops.max(images, axis=axes, keepdims=True)
    whole = ops.all(ops.equal(images, ops.floor(images)), axis=axes)
    whole = ops.reshape(whole, (-1, 1, 1, 1))
    some_of_bytes = ops.greater_equal(ops.max(highest), _OF_BYTES)
    of_bytes = ops.logical_or(
        ops.greater_equal(highest, _OF_BYTES),
        ops.logical_and(whole, some_of_bytes),
    )
    inside = ops.where(
        of_bytes,
        _both(ops.greater_equal(lowest, 0.0), ops.less_equal(highest, 255.0)),
        _both(
            _both(
                ops.greater_equal(lowest, LOWEST),
                ops.less_equal(highest, HIGHEST),
            ),
            ops.logical_not(some_of_bytes),
        ),
    )
    # The root of 1 or of -1, which is NaN. Not a sum: Keras takes what it adds
    # for a bias where there are as many images as channels.
    one_or_nan = ops.sqrt(
        ops.subtract(ops.multiply(ops.cast(inside, "float32"), 2.0), 1.0)
    )
    scaled = ops.where(of_bytes, ops.divide(images, 255.0), images)
    return ops.multiply(scaled, one_or_nan)


def with_guess(encoder):
    """Puts `guess_unit_range` in front of an encoder.

    Args:
        encoder: What `models.encoder.build_encoder` returned. Its variables are
            shared.

    Returns:
        `keras.Model`, which takes images in [0, 255], too.
    """
    return join(
        normalization_of(encoder),
        backbone_of(encoder),
        before=guess_unit_range,
    )


def _both(a, b):
    return ops.logical_and(a, b)
