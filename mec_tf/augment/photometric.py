"""Colour, blur, solarization and noise of batches of views, on the accelerator.

Every decision comes from `draws`, uniform numbers that travel with the image,
so a view does not depend on the batch that it happens to share. The semantics
are torchvision's (and so Pillow's): brightness multiplies, contrast and
saturation blend, hue turns.

One view's whole treatment is compiled by XLA into a few loops over the pixels;
operation by operation it would be bound by memory, many times as slow on a
CPU. For the compiler's sake red, green and blue are three arrays from jitter to
grey: as one array, each operation that mixes them would triple the work of the
operation before it, computed anew for every channel that reads it.
"""

import functools
import itertools

import numpy as np
import tensorflow as tf

# Columns of `draws`.
JITTER, ORDER, BRIGHTNESS, CONTRAST, SATURATION, HUE = range(6)
GREY, BLUR, SIGMA, SOLARIZE, NOISE = range(6, 11)
NUM_DRAWS = 11

# Luma of ITU-R BT.601, Pillow's and torchvision's grey.
_LUMA = (0.299, 0.587, 0.114)

# Most of a blur's matrix is zero. Products of blocks of so many rows leave most
# of the zeros out.
_BLOCK = 56

# Jitter's operations by number, and the orders that they may come in.
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)
_ORDERS = tuple(itertools.permutations(range(4)))


def augment(images, draws, view):
    """Applies one view's jitter, grey, blur, solarization and noise.

    A pure function of its arguments, computed in float32 under any precision
    policy; usable eagerly, in tf.data, in a `tf.function`, compiled or not. It
    compiles once for each view and shape.

    Args:
        images: uint8 `[n, h, w, 3]`, or float in [0, 1].
        draws: float32 `[n, NUM_DRAWS]`, uniform in [0, 1).
        view: the `mec_tf.augment.policy.View` with probabilities and strengths.

    Returns:
        float32 `[n, h, w, 3]` in [0, 1], not yet normalised.
    """
    return _compiled(view)(images, draws)


def normalize(images, mean, std):
    """Returns `(images - mean) / std` in float32.

    Args:
        images: float `[n, h, w, 3]` in [0, 1].
        mean: three floats, per channel.
        std: three floats above 0, per channel.
    """
    mean = tf.constant(mean, tf.float32)
    std = tf.constant(std, tf.float32)
    return (tf.cast(images, tf.float32) - mean) / std


@functools.cache
def _compiled(view):
    return tf.function(
        functools.partial(_augment, view=view),
        jit_compile=True,
        autograph=False,
    )


def _augment(images, draws, view):
    if images.dtype == tf.uint8:
        images = tf.cast(images, tf.float32) / 255
    draws = tf.unstack(tf.cast(draws, tf.float32), NUM_DRAWS, axis=1)
    colours = tf.unstack(tf.cast(images, tf.float32), axis=3)
    if view.jitter > 0:
        colours = _jitter(colours, draws, view)
    if view.grey > 0:
        chosen = _per_image(draws[GREY] < view.grey)
        grey = _grey(colours)
        colours = [tf.where(chosen, grey, colour) for colour in colours]
    if view.blur > 0:
        colours = _blur(colours, draws, view)
    if view.solarize > 0:
        chosen = _per_image(draws[SOLARIZE] < view.solarize)
        colours = [
            tf.where(
                chosen & (colour >= view.solarize_threshold),
                1 - colour,
                colour,
            )
            for colour in colours
        ]
    images = tf.stack(colours, axis=3)
    if view.noise > 0:
        noise = _noise(draws[NOISE], tf.shape(images))
        images = _clip(images + view.noise * noise)
    return images


def _per_image(values):
    """`[n]` -> `[n, 1, 1]`: one value for all pixels of an image."""
    return values[:, None, None]


def _clip(images):
    return tf.clip_by_value(images, 0.0, 1.0)


def _grey(colours):
    return sum(
        weight * colour for weight, colour in zip(_LUMA, colours, strict=True)
    )


def _jitter(colours, draws, view):
    """Brightness, contrast, saturation and hue, each image in its own order.

    All but hue are clip(a x + b grey(x) + c mean(grey(x))), so any of them
    fits any place in the order by its a, b and c. Hue, the costly one, is
    computed once: with three places before it and three behind it, of which an
    image uses three, all 24 orders come out.
    """
    chosen = draws[JITTER] < view.jitter  # [n]

    def factor(draw, strength):
        low = max(0.0, 1 - strength)
        high = 1 + strength
        return tf.where(chosen, low + (high - low) * draw, 1.0)

    brightness = factor(draws[BRIGHTNESS], view.brightness)
    contrast = factor(draws[CONTRAST], view.contrast)
    saturation = factor(draws[SATURATION], view.saturation)
    zero, one = tf.zeros_like(brightness), tf.ones_like(brightness)
    coefficients = {
        _BRIGHTNESS: (brightness, zero, zero),
        _CONTRAST: (contrast, zero, 1 - contrast),
        _SATURATION: (saturation, 1 - saturation, zero),
        _HUE: (one, zero, zero),
    }
    table = tf.stack(
        [tf.stack(coefficients[k], axis=1) for k in range(4)], axis=1
    )  # [n, 4, 3]

    row = tf.cast(draws[ORDER] * len(_ORDERS), tf.int32)
    order = tf.gather(tf.constant(_ORDERS), row)  # [n, 4]
    turn = tf.argmax(order == _HUE, axis=1, output_type=tf.int32)  # [n]

    def place(colours, position, used):
        operation = tf.where(used, order[:, position], _HUE)
        chosen = tf.gather(table, operation, batch_dims=1)  # [n, 3]
        a, b, c = (_per_image(chosen[:, k]) for k in range(3))
        grey = _grey(colours)
        mean = tf.reduce_mean(grey, axis=[1, 2], keepdims=True)
        blend = b * grey + c * mean
        return [_clip(a * colour + blend) for colour in colours]

    for position in range(3):
        colours = place(colours, position, position < turn)
    if view.hue > 0:
        shift = tf.where(chosen, (2 * draws[HUE] - 1) * view.hue, 0.0)
        colours = _turn_hue(colours, _per_image(shift))
    for position in range(1, 4):
        colours = place(colours, position, position > turn)
    return colours


def _turn_hue(colours, shift):
    """Turns the hue by `shift` turns, keeping HSV's value and chroma."""
    red, green, blue = colours
    value = tf.maximum(tf.maximum(red, green), blue)
    chroma = value - tf.minimum(tf.minimum(red, green), blue)
    divisor = tf.where(chroma > 0, chroma, 1.0)
    hue = tf.where(
        value == red,
        (green - blue) / divisor,
        tf.where(
            value == green,
            2 + (blue - red) / divisor,
            4 + (red - green) / divisor,
        ),
    )  # in sixths of a turn
    hue += 6 * shift

    def channel(offset):
        k = hue + offset
        k -= 6 * tf.floor(k / 6)
        return value - chroma * _clip(tf.minimum(k, 4 - k))

    return [channel(5), channel(3), channel(1)]


def _blur(colours, draws, view):
    """G_h X G_w^T with a banded matrix of Gaussian taps for each image.

    As matrix products, because those are fast everywhere; a convolution with a
    kernel of its own for every image is not.
    """
    low, high = view.blur_sigma
    sigma = low + (high - low) * draws[SIGMA]
    radius = view.blur_taps // 2
    distance = tf.range(radius + 1, dtype=tf.float32)
    taps = tf.exp(-0.5 * (distance / sigma[:, None]) ** 2)
    taps /= 2 * tf.reduce_sum(taps, axis=1, keepdims=True) - taps[:, :1]
    if view.blur >= 1:
        return _convolve(colours, taps)

    # Few images of a batch are blurred where this is rare, so they are taken
    # in groups, an eighth of the batch each, as many as it needs. Sharp ones
    # that fill the last group up have a kernel of a single tap.
    blurred = draws[BLUR] < view.blur  # [n]
    taps = tf.where(blurred[:, None], taps, tf.one_hot(0, radius + 1))
    count = tf.shape(colours[0])[0]
    group = tf.range(-(-count // 8))
    blurred_first = tf.argsort(tf.where(blurred, 0, 1))

    def blur_group(begin, *colours):
        # Beyond the batch's end the last image is met again, and blurred alike.
        place = tf.minimum(begin + group, count - 1)
        members = tf.gather(blurred_first, place)
        sharp = [tf.gather(colour, members) for colour in colours]
        done = _convolve(sharp, tf.gather(taps, members))
        return begin + tf.size(group), *(
            tf.tensor_scatter_nd_update(colour, members[:, None], part)
            for colour, part in zip(colours, done, strict=True)
        )

    number = tf.reduce_sum(tf.cast(blurred, tf.int32))
    _, *colours = tf.while_loop(
        lambda begin, *_: begin < number, blur_group, (0, *colours)
    )
    return colours


def _convolve(colours, taps):
    """Convolves rows and columns with an image's own `taps` `[n, radius + 1]`.

    The taps count from the kernel's centre outwards, for both sides at once.
    """
    radius = taps.shape[1] - 1
    height, width = colours[0].shape[1:]
    rows = tf.einsum("nt,tij->nij", taps, _mirrored_bands(radius, height))
    columns = tf.einsum("nt,tij->nij", taps, _mirrored_bands(radius, width))

    def blurred(colour):
        colour = tf.concat(
            [
                tf.matmul(rows[:, to, near], colour[:, near])
                for to, near in _blocks(radius, height)
            ],
            axis=1,
        )
        return tf.concat(
            [
                tf.matmul(
                    colour[:, :, near], columns[:, to, near], transpose_b=True
                )
                for to, near in _blocks(radius, width)
            ],
            axis=2,
        )

    return [blurred(colour) for colour in colours]


def _blocks(radius, length):
    """Cuts a line into blocks: (a block, what lies within its reach)."""
    return [
        (
            slice(begin, min(begin + _BLOCK, length)),
            slice(max(begin - radius, 0), min(begin + _BLOCK + radius, length)),
        )
        for begin in range(0, length, _BLOCK)
    ]


def _mirrored_bands(radius, length):
    """`[radius + 1, length, length]`: who stands how far from whom on a line.

    Beyond its ends the line goes on as its mirror image at the end's pixel, as
    torchvision pads before it blurs; so a pixel may count twice or thrice.
    """
    bands = np.zeros([radius + 1, length, length], np.float32)
    period = max(2 * (length - 1), 1)
    for distance in range(-radius, radius + 1):
        place = (np.arange(length) + distance) % period
        place = np.minimum(place, period - place)
        np.add.at(bands[abs(distance)], (np.arange(length), place), 1)
    return bands


def _noise(draw, shape):
    """Standard normal numbers from a hash of the image's draw and the place.

    A stateless generator takes one seed for a whole tensor; here each image
    brings its own. The hash is PCG's output permutation (O'Neill, 2014), in
    int64 because 32-bit integers live on the host of a GPU.
    """
    word = tf.constant(0xFFFFFFFF, tf.int64)

    def shifted(bits, by):
        return tf.bitwise.right_shift(bits, tf.cast(by, tf.int64))

    # 24 bits are all that a float32 draw has.
    seed = tf.cast(draw * 2.0**24, tf.int64) * 2654435761
    place = tf.range(tf.reduce_prod(shape[1:]), dtype=tf.int64)
    state = (place * 747796405 + seed[:, None]) & word
    bits = (shifted(state, shifted(state, 28) + 4) ^ state) * 277803737 & word
    bits = shifted(bits, 22) ^ bits
    # The centres of 2^23 equal cells: neither 0 nor 1 in float32.
    uniform = (tf.cast(shifted(bits, 9), tf.float32) + 0.5) / 2**23
    return tf.reshape(tf.math.ndtri(uniform), shape)
