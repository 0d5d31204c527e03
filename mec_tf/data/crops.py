"""Random and centre crops of images, with antialiased resampling.

Sampling follows torchvision's `RandomResizedCrop`: area uniform, aspect ratio
log-uniform, ten tries, then the largest centred crop within the ratio's
bounds. Resampling is antialiased, as Pillow's is and TensorFlow's default is
not.
"""

import tensorflow as tf

TRIES = 10
# A crop takes this many uniform numbers: area and ratio of each try, the
# position's two, the flip's one.
NUM_DRAWS = 2 * TRIES + 3

KERNELS = {"bicubic": "keyscubic", "bilinear": "triangle"}


def random_boxes(shape, draws, views):
    """Draws a crop for each view.

    Args:
        shape: int32 `[2]`, height and width of the image in pixels.
        draws: float32 `[views, NUM_DRAWS]`, uniform in [0, 1).
        views: the `View`s.

    Returns:
        float32 `[views, 4]`: top, left, height, width in pixels. Whole numbers
        inside the image, but for views that may zoom out (area beyond 1).
    """
    height, width = tf.unstack(tf.cast(shape, tf.float32))

    def column(values):
        return tf.constant(list(values), tf.float32)[:, None]

    zooms_out = tf.constant([view.crop_area[1] > 1 for view in views])[:, None]
    least = column(view.crop_area[0] for view in views)
    most = column(view.crop_area[1] for view in views)
    narrow = column(view.crop_ratio[0] for view in views)
    wide = column(view.crop_ratio[1] for view in views)
    log_narrow, log_wide = tf.math.log(narrow), tf.math.log(wide)

    tries = tf.reshape(draws[:, : 2 * TRIES], [-1, 2, TRIES])
    area = (least + (most - least) * tries[:, 0]) * height * width
    ratio = tf.exp(log_narrow + (log_wide - log_narrow) * tries[:, 1])
    crop_width, crop_height = tf.sqrt(area * ratio), tf.sqrt(area / ratio)
    crop_width = tf.where(zooms_out, crop_width, tf.round(crop_width))
    crop_height = tf.where(zooms_out, crop_height, tf.round(crop_height))

    fits = (
        (crop_width <= width)
        & (crop_height <= height)
        & (crop_width > 0)
        & (crop_height > 0)
    ) | zooms_out
    first = tf.argmax(tf.cast(fits, tf.int32), axis=1, output_type=tf.int32)
    found = tf.reduce_any(fits, axis=1)
    crop_width = tf.gather(crop_width, first, batch_dims=1)
    crop_height = tf.gather(crop_height, first, batch_dims=1)
    largest_width = tf.minimum(width, tf.round(height * wide[:, 0]))
    largest_height = tf.minimum(height, tf.round(width / narrow[:, 0]))
    centre_top = tf.floor((height - largest_height) / 2)
    centre_left = tf.floor((width - largest_width) / 2)

    # The slack is negative where the crop is larger than the image.
    across, down = draws[:, -3], draws[:, -2]
    whole = ~zooms_out[:, 0]
    slack_down, slack_across = height - crop_height, width - crop_width
    top = tf.where(whole, tf.floor(down * (slack_down + 1)), down * slack_down)
    left = tf.where(
        whole, tf.floor(across * (slack_across + 1)), across * slack_across
    )
    return tf.stack(
        [
            tf.where(found, top, centre_top),
            tf.where(found, left, centre_left),
            tf.where(found, crop_height, largest_height),
            tf.where(found, crop_width, largest_width),
        ],
        axis=1,
    )


def enclosing_window(boxes, shape):
    """Returns the smallest part of an image that holds all boxes.

    Args:
        boxes: float32 `[views, 4]`: top, left, height, width in pixels.
        shape: int32 `[2]`, height and width of the image in pixels.

    Returns:
        int32 `[4]`: top, left, height, width in pixels, inside the image.
    """
    begin = tf.reduce_min(tf.floor(boxes[:, :2]), axis=0)
    end = tf.reduce_max(tf.math.ceil(boxes[:, :2] + boxes[:, 2:]), axis=0)
    begin = tf.maximum(tf.cast(begin, tf.int32), 0)
    end = tf.minimum(tf.cast(end, tf.int32), shape)
    return tf.concat([begin, end - begin], axis=0)


def cut_views(image, boxes, draws, views, interpolation):
    """Cuts all views out of an image, and flips those whose draw says so.

    Args:
        image: uint8 `[h, w, 3]`.
        boxes: float32 `[views, 4]`, from `random_boxes`.
        draws: float32 `[views, NUM_DRAWS]`, the ones that made the boxes.
        views: the `View`s.
        interpolation: "bicubic" or "bilinear".

    Returns:
        A tuple over views of uint8 `[size, size, 3]`.
    """
    cuts = []
    for number, view in enumerate(views):
        pixels = cut(image, boxes[number], view.size, interpolation)
        if view.flip > 0:
            # Reversing along no axis leaves the view as it is.
            flipped = draws[number, -1:] < view.flip
            pixels = tf.reverse(pixels, tf.boolean_mask([1], flipped))
        cuts.append(pixels)
    return tuple(cuts)


def cut(image, box, size, interpolation):
    """Cuts a box out of an image and resamples it to a square, antialiased.

    Args:
        image: uint8 `[h, w, 3]`.
        box: float32 `[4]`: top, left, height, width in pixels; outside the
            image all is black.
        size: side of the result, in pixels.
        interpolation: "bicubic" or "bilinear".

    Returns:
        uint8 `[size, size, 3]`.
    """
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    begin = tf.clip_by_value(tf.floor(box[:2]), 0.0, shape)
    end = tf.clip_by_value(tf.math.ceil(box[:2] + box[2:]), 0.0, shape)
    window = tf.slice(
        image,
        tf.concat([tf.cast(begin, tf.int32), [0]], axis=0),
        tf.concat([tf.cast(end - begin, tf.int32), [3]], axis=0),
    )
    scale = size / box[2:]
    return _resample(
        window, size, scale, (begin - box[:2]) * scale, interpolation
    )


def usual_crop_fraction(size):
    """The crop's side as a part of the resized short side, in (0, 1].

    0.875, as usual on ImageNet, from 160 pixels up, and 1 for small images,
    which have no margin to lose.

    Args:
        size: side of the crop, in pixels.
    """
    return 0.875 if size >= 160 else 1.0


def centre_crop(image, *, size, crop_fraction, interpolation, resize="short"):
    """Resizes an image to `size / crop_fraction` and cuts the centre.

    Args:
        image: uint8 `[h, w, 3]`.
        size: side of the result, in pixels.
        crop_fraction: `size` as a part of the resized side, in (0, 1].
        interpolation: "bicubic" or "bilinear".
        resize: "short": that side is the short one, as in the MEC authors'
            code; "square": it is both, which distorts, as the paper words it
            ("resized to 256 x 256").

    Returns:
        uint8 `[size, size, 3]`.
    """
    side = round(size / crop_fraction)
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    if resize == "square":
        resized = tf.fill([2], tf.cast(side, tf.float32))
    else:
        # As torchvision: the long side is cut to whole pixels.
        resized = tf.floor(side * shape / tf.reduce_min(shape))
    begin = tf.round((resized - size) / 2)
    return _resample(image, size, resized / shape, -begin, interpolation)


def _resample(image, size, scale, translation, interpolation):
    resampled = tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=[size, size],
        scale=scale,
        translation=translation,
        kernel_type=KERNELS[interpolation],
        antialias=True,
    )[0]
    # One pass over the pixels to round, to clip what a cubic kernel overshoots,
    # and to cast; with the three usual operations it takes three times as long.
    quantized = tf.raw_ops.QuantizeV2(
        input=resampled,
        min_range=0.0,
        max_range=255.0,
        T=tf.quint8,
        mode="SCALED",
        round_mode="HALF_TO_EVEN",
    ).output
    return tf.bitcast(quantized, tf.uint8)
