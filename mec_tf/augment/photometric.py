"""Colour, blur and solarization of batches of views, on the accelerator.

Every decision comes from `draws`, uniform numbers that travel with the image,
so a view does not depend on the batch that it happens to share. The semantics
are torchvision's (and so Pillow's): factors multiply or blend, hue turns.
"""

import itertools

import tensorflow as tf

# Columns of `draws`.
JITTER, ORDER, BRIGHTNESS, CONTRAST, SATURATION, HUE = range(6)
GREY, BLUR, SIGMA, SOLARIZE, NOISE = range(6, 11)
NUM_DRAWS = 11

# Luma of ITU-R 601, which Pillow and torchvision use for grey.
_LUMA = (0.299, 0.587, 0.114)
_ORDERS = tf.constant(list(itertools.permutations(range(4))), tf.int32).numpy()


def augment(images, draws, view):
    """Applies one view's colour jitter, grey, blur, solarization and noise.

    Args:
      images: uint8 `[n, s, s, 3]`, or float in [0, 1].
      draws: float32 `[n, NUM_DRAWS]`, uniform in [0, 1).
      view: the `View` with probabilities and strengths.

    Returns:
      float32 `[n, s, s, 3]` in [0, 1], not yet normalised.
    """
    if images.dtype == tf.uint8:
        images = tf.cast(images, tf.float32) / 255
    images = tf.cast(images, tf.float32)
    draws = tf.cast(draws, tf.float32)
    # A number per image, ready to be broadcast over its pixels.
    draw = [draws[:, k, None, None, None] for k in range(NUM_DRAWS)]
    if view.jitter > 0:
        images = _jitter(images, draw, view)
    if view.grey > 0:
        images = tf.where(draw[GREY] < view.grey, _grey(images), images)
    if view.blur > 0:
        images = _blur(images, draws, view)
    if view.solarize > 0:
        inverted = tf.where(
            images >= view.solarize_threshold, 1 - images, images
        )
        images = tf.where(draw[SOLARIZE] < view.solarize, inverted, images)
    if view.noise > 0:
        images = _noise(images, draws[:, NOISE], view.noise)
    return images


def normalize(images, mean, std):
    """Returns `(images - mean) / std`, per channel; float32."""
    mean = tf.constant(mean, tf.float32)
    std = tf.constant(std, tf.float32)
    return (tf.cast(images, tf.float32) - mean) / std


def _grey(images):
    red, green, blue = tf.unstack(images, axis=-1)
    grey = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    return tf.repeat(grey[..., None], 3, axis=-1)


def _clip(images):
    return tf.clip_by_value(images, 0.0, 1.0)


def _factor(draw, strength):
    low = max(0.0, 1 - strength)
    return low + (1 + strength - low) * draw


def _jitter(images, draw, view):
    brightness = _factor(draw[BRIGHTNESS], view.brightness)
    contrast = _factor(draw[CONTRAST], view.contrast)
    saturation = _factor(draw[SATURATION], view.saturation)
    shift = (2 * draw[HUE] - 1) * view.hue
    operations = [
        (view.brightness, lambda x: _clip(x * brightness)),
        (
            view.contrast,
            lambda x: _clip(
                contrast * x
                + (1 - contrast)
                * tf.reduce_mean(_grey(x), axis=[1, 2, 3], keepdims=True)
            ),
        ),
        (
            view.saturation,
            lambda x: _clip(saturation * x + (1 - saturation) * _grey(x)),
        ),
        (view.hue, lambda x: _turn_hue(x, shift)),
    ]
    row = tf.cast(draw[ORDER] * len(_ORDERS), tf.int32)
    order = tf.gather(_ORDERS, row)  # [n, 1, 1, 1, 4]
    jittered = images
    for slot in range(4):
        source = jittered
        for which, (strength, operation) in enumerate(operations):
            if strength > 0:
                jittered = tf.where(
                    order[..., slot] == which, operation(source), jittered
                )
    return tf.where(draw[JITTER] < view.jitter, jittered, images)


def _turn_hue(images, shift):
    hsv = tf.image.rgb_to_hsv(images)
    hue = tf.math.floormod(hsv[..., :1] + shift, 1.0)
    return tf.image.hsv_to_rgb(tf.concat([hue, hsv[..., 1:]], axis=-1))


def _blur(images, draws, view):
    low, high = view.blur_sigma
    sigma = low + (high - low) * draws[:, SIGMA]  # [n]
    radius = view.blur_taps // 2
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    kernel = tf.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel /= tf.reduce_sum(kernel, axis=1, keepdims=True)  # [n, taps]
    # An image that keeps its sharpness is blurred by a single tap.
    single = tf.cast(offsets == 0, tf.float32)
    kernel = tf.where(draws[:, BLUR, None] < view.blur, kernel, single)
    n, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    padded = tf.pad(
        images, [[0, 0], [radius] * 2, [radius] * 2, [0, 0]], "REFLECT"
    )
    # The batch becomes channels, so that each image has a kernel of its own.
    folded = tf.transpose(padded, [1, 2, 0, 3])
    folded = tf.reshape(
        folded, [1, height + 2 * radius, width + 2 * radius, n * 3]
    )
    taps = tf.repeat(tf.transpose(kernel), 3, axis=1)  # [taps, n * 3]
    for shape in ((-1, 1), (1, -1)):
        filters = tf.reshape(taps, [*shape, n * 3, 1])
        folded = tf.nn.depthwise_conv2d(folded, filters, [1] * 4, "VALID")
    unfolded = tf.reshape(folded, [height, width, n, 3])
    return tf.transpose(unfolded, [2, 0, 1, 3])


def _noise(images, seeds, std):
    """Adds Gaussian noise from a counter-based generator (PCG's output hash).

    A pixel's number depends on its image's seed and its place alone.
    """
    shape = tf.shape(images)
    mask = tf.constant(0xFFFFFFFF, tf.int64)
    place = tf.range(tf.reduce_prod(shape[1:]), dtype=tf.int64)
    seed = tf.cast(seeds * 2**24, tf.int64)[:, None] * 2654435761
    state = ((place * 747796405) + seed) & mask
    shift = tf.bitwise.right_shift(state, tf.constant(28, tf.int64)) + 4
    word = (tf.bitwise.right_shift(state, shift) ^ state) * 277803737 & mask
    word = tf.bitwise.right_shift(word, tf.constant(22, tf.int64)) ^ word
    uniform = (tf.cast(word, tf.float32) + 0.5) / 2**32
    uniform = tf.clip_by_value(uniform, 1e-7, 1 - 1e-7)
    normal = tf.math.ndtri(uniform)
    return _clip(images + std * tf.reshape(normal, shape))
