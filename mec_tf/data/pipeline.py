"""Batches of views for training, batches of images for evaluation.

Everything random derives from (seed, epoch, sample index, view) by stateless
generators, so neither batching nor workers nor resuming changes a view.
"""

import os
import threading

import numpy as np
import tensorflow as tf

from mec_tf.augment import photometric
from mec_tf.data import bad_images, crops, decode
from mec_tf.errors import UserError

_FOREVER = np.iinfo(np.int64).max
# A sample's seed: the epoch in the upper bits, its index in the lower ones.
_EPOCH = 2**40
# Samples of one batch that are made at the same time. AUTOTUNE would have to
# learn it anew for every batch.
_PARALLEL_SAMPLES = 2 * os.cpu_count()


class Gate:
    """Counts the batches that training gets, and can hold the next one back.

    While a step waits for a batch that was not made, nothing that it learns
    moves: whoever holds `lock` and sees that may read it.

    Attributes:
        lock: held, it keeps every further batch from coming.
        step: steps whose batches were made, at most.
    """

    def __init__(self):
        """Starts with no batch made."""
        self.lock = threading.Lock()
        self.step = 0

    def through(self, step):
        """Lets the batch of a step pass, counted from 0."""
        with self.lock:
            self.step = max(self.step, int(step) + 1)


def training_batches(
    source,
    policy,
    *,
    batch_size,
    seed,
    first_step=0,
    worker=0,
    workers=1,
    labelled=False,
    gate=None,
):
    """Returns endless batches of views, in a fresh order each epoch.

    Step t belongs to epoch `t // (source.size // batch_size)`. Each epoch goes
    through a permutation of all samples and drops the last incomplete batch.

    Args:
        source: the `Source` to read.
        policy: the `Policy` with the views.
        batch_size: images per step, over all workers.
        seed: int; with equal seeds the batches are equal.
        first_step: the step to begin with, as if the ones before had been
            taken.
        worker: which of the workers this is, in [0, workers).
        workers: how many share each step's batch; divides `batch_size`.
        labelled: whether batches also carry "label", int64 `[n]` or `[n,
            classes]`: those of the images that were really read.
        gate: a `Gate` for the batches to pass, or None.

    Returns:
        A `tf.data.Dataset` of dicts, with n = batch_size / workers: "views", a
        tuple over views of uint8 `[n, s, s, 3]`; "draws", a tuple over views of
        float32 `[n, K]` in [0, 1) for `photometric.augment`; "index", int64
        `[n]`.

    Raises:
        UserError: if the batch is larger than the source, or does not divide.
        TooManyBadImages: while it is read, as one of TensorFlow's errors (see
            `bad_images.reporting_failures`), when no images are left to take in
            place of those that cannot be read.
    """
    if not 1 <= batch_size <= source.size:
        raise UserError(
            f"A batch of {batch_size} images was asked of {source.size} "
            f"({source.description}). Expected a batch between 1 and "
            f"{source.size}: lower `batch_size` or add images."
        )
    if batch_size % workers:
        raise UserError(
            f"A batch of {batch_size} images cannot be shared evenly by "
            f"{workers} workers. Make `batch_size` a multiple of {workers}."
        )
    labels = tf.constant(source.labels) if labelled else None
    views = policy.views
    numbers = crops.NUM_DRAWS + photometric.NUM_DRAWS

    def sample(used, index, epoch):
        draws = tf.random.stateless_uniform(
            [len(views), numbers], [seed, epoch * _EPOCH + index]
        )
        geometry = draws[:, : crops.NUM_DRAWS]
        photometry = draws[:, crops.NUM_DRAWS :]
        pixels, boxes = _pixels_and_boxes(source, used, geometry, views)
        cuts = crops.cut_views(
            pixels, boxes, geometry, views, policy.interpolation
        )
        batch = {
            "views": cuts,
            "draws": tuple(tf.unstack(photometry)),
            "index": index,
        }
        if labels is not None:
            batch["label"] = tf.gather(labels, used)
        return batch, used

    reach = min(source.size, bad_images.REACH)

    def next_readable(used, index, epoch):
        found = (
            tf.data.Dataset.range(used, used + reach)
            .map(lambda ahead: sample(ahead % source.size, index, epoch))
            .ignore_errors()
        )
        # Or a vanished folder would be searched without end, step after step.
        blank, _ = tf.nest.map_structure(
            lambda spec: tf.zeros(spec.shape, spec.dtype), found.element_spec
        )
        blank["index"] = index
        none = tf.constant(-1, tf.int64)
        return found.concatenate(tf.data.Dataset.from_tensors((blank, none)))

    def usable(indices, epoch):
        used = indices
        if source.bad is not None:
            used = tf.numpy_function(
                source.bad.usable, [indices], tf.int64, stateful=True
            )
            used = tf.ensure_shape(used, indices.shape)
        return used, indices, tf.broadcast_to(epoch, tf.shape(indices))

    steps = _order(
        source.size, batch_size, seed, first_step, worker, workers
    ).map(usable)
    batches = _batches(source, steps, sample, next_readable, reach)
    if gate is not None:
        batches = batches.enumerate(first_step).map(
            lambda step, batch: _passed(gate, step, batch)
        )
    return batches.with_options(_options()).prefetch(2)


def _passed(gate, step, batch):
    passed = tf.numpy_function(gate.through, [step], [], stateful=True)
    with tf.control_dependencies([passed]):
        return tf.nest.map_structure(tf.identity, batch)


def _pixels_and_boxes(source, index, geometry, views):
    """Returns an image, or of a JPEG what the views need, and their boxes."""
    image = source.read(index)
    if image.dtype != tf.string:
        return image, crops.random_boxes(tf.shape(image)[:2], geometry, views)
    encoded = image
    is_upright = _orientation(source, index) == 1

    # One window for all views: to decode each view's own part of the file took
    # 5 % more CPU time (measured on photographs with a short side of 400).
    def decode_window():
        shape = decode.jpeg_shape(encoded)
        boxes = crops.random_boxes(shape, geometry, views)
        window = crops.enclosing_window(boxes, shape)
        origin = tf.cast(tf.pad(window[:2], [[0, 2]]), tf.float32)
        return decode.decode_jpeg_window(encoded, window), boxes - origin

    def decode_all():
        pixels = _upright_image(source, index, encoded)
        boxes = crops.random_boxes(tf.shape(pixels)[:2], geometry, views)
        return pixels, boxes

    # A window shows no damage below it, and then crops would decide whether a
    # file that was cut off counts as bad: only all of it tells.
    return tf.cond(
        decode.is_jpeg(encoded) & decode.ends_as_jpeg(encoded) & is_upright,
        decode_window,
        decode_all,
    )


def _orientation(source, index):
    if source.orientations is None:
        return tf.constant(1)
    return tf.cast(tf.gather(source.orientations, index), tf.int32)


def _upright_image(source, index, encoded):
    image = decode.decode(encoded)
    if source.orientations is None:
        return image
    return decode.upright(image, _orientation(source, index))


def _batches(source, steps, sample, candidates, reach=0):
    """Turns steps, structures of `[n, ...]`, into batches of their n samples.

    Decoding fails inside TensorFlow, where only a dataset can pass over an
    error. A dataset for each sample would be slow, so a step is made quickly,
    and made again with care only if that came out too short.

    Args:
        source: the `Source` that is read.
        steps: the `tf.data.Dataset` of steps.
        sample: function of one row of a step -> (sample, index that was used).
        candidates: function of one row -> a dataset whose first element is what
            to take in place of a sample that may fail.
        reach: how many images those candidates try, see `BadImages.note`.
    """

    # Nothing here needs AutoGraph, which would take a second to see that.
    @tf.autograph.experimental.do_not_convert
    def batch(*step):
        rows = tf.data.Dataset.from_tensor_slices(step)
        n = step[0].shape[0] or tf.shape(step[0], tf.int64)[0]

        def made_by(make):
            made = rows.map(make, num_parallel_calls=_PARALLEL_SAMPLES)
            if source.bad is not None:
                made = made.ignore_errors()
            return made.batch(n, drop_remainder=True)

        quick = made_by(sample)
        if source.bad is None:
            return quick
        careful = made_by(
            lambda *row: candidates(*row).take(1).get_single_element()
        )
        return quick.concatenate(careful).take(1)

    return steps.interleave(
        batch, cycle_length=2, num_parallel_calls=2, deterministic=True
    ).map(lambda batch, used: _noted(source, batch, used, reach))


def _order(size, batch_size, seed, first_step, worker, workers):
    """Returns endless steps (indices `[n]`, epoch) from `first_step` on."""
    steps = size // batch_size
    first_epoch, skipped = divmod(first_step, steps)
    share = batch_size // workers

    @tf.autograph.experimental.do_not_convert
    def epoch_steps(epoch):
        # Negative, so that it never meets the seed of a sample.
        order = tf.random.experimental.stateless_shuffle(
            tf.range(size, dtype=tf.int64), [seed, -1 - epoch]
        )
        batches = tf.reshape(order[: steps * batch_size], [steps, batch_size])
        begin = tf.where(epoch == first_epoch, skipped, 0)
        rows = batches[begin:, worker * share : (worker + 1) * share]
        rows = tf.ensure_shape(rows, [None, share])
        rows = tf.data.Dataset.from_tensor_slices(rows)
        return rows.map(lambda indices: (indices, epoch))

    epochs = tf.data.Dataset.range(first_epoch, _FOREVER)
    return epochs.flat_map(epoch_steps)


def evaluation_batches(
    source,
    *,
    image_size,
    batch_size,
    indices=None,
    crop_fraction=None,
    interpolation="bicubic",
    resize="short",
):
    """Returns a source once, in order, one centre crop per image.

    Args:
        source: the `Source` to read.
        image_size: side of the crop, in pixels.
        batch_size: images per batch; the last batch may hold fewer.
        indices: int64 `[k]`, which images; None: all.
        crop_fraction: the crop's side as a part of the resized image's short
            side, in (0, 1]; None: `crops.usual_crop_fraction`.
        interpolation: "bicubic" or "bilinear".
        resize: "short" or "square", see `crops.centre_crop`.

    Returns:
        A `tf.data.Dataset` of {"image": uint8 `[n, s, s, 3]`, "label": int64
        `[n]` or `[n, classes]` (-1 where there are no labels), "index": int64
        `[n]`}. Images that cannot be read are left out, so a batch may hold
        fewer.
    """
    if crop_fraction is None:
        crop_fraction = crops.usual_crop_fraction(image_size)
    if indices is None:
        labels = source.labels
        indices = np.arange(source.size)
    else:
        labels = source.labels_of(indices)
    if labels is None:
        labels = np.full([len(indices)], -1, np.int64)

    def sample(index, label):
        image = source.read(index)
        if image.dtype == tf.string:
            image = _upright_image(source, index, image)
        image = crops.centre_crop(
            image,
            size=image_size,
            crop_fraction=crop_fraction,
            interpolation=interpolation,
            resize=resize,
        )
        return {"image": image, "label": label, "index": index}, index

    def sample_or_blank(index, label):
        image = tf.zeros([image_size, image_size, 3], tf.uint8)
        blank = {"image": image, "label": label, "index": index}
        return (
            tf.data.Dataset.from_tensors((index, label))
            .map(sample)
            .ignore_errors()
            .concatenate(
                tf.data.Dataset.from_tensors((blank, tf.constant(-1, tf.int64)))
            )
        )

    steps = tf.data.Dataset.from_tensor_slices(
        (np.asarray(indices, np.int64), np.asarray(labels, np.int64))
    ).batch(batch_size)
    batches = _batches(source, steps, sample, sample_or_blank)
    if source.bad is not None:
        batches = batches.filter(lambda batch: tf.size(batch["index"]) > 0)
    return batches.with_options(_options()).prefetch(2)


def _noted(source, batch, used, reach):
    """Reports unreadable images to the source and drops their blanks."""
    if source.bad is None:
        return batch
    noted = tf.numpy_function(
        source.bad.note, [batch["index"], used, reach], []
    )
    with tf.control_dependencies([noted]):
        return tf.cond(
            tf.reduce_all(used >= 0),
            lambda: tf.nest.map_structure(tf.identity, batch),
            lambda: tf.nest.map_structure(
                lambda rows: tf.boolean_mask(rows, used >= 0), batch
            ),
        )


def _options():
    options = tf.data.Options()
    options.deterministic = True
    # Workers are told apart by `worker`, not by TensorFlow.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return options
