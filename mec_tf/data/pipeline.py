"""Batches of views for training, batches of images for evaluation.

Everything random derives from (seed, epoch, sample index, view) by stateless
generators, so neither batching nor workers nor resuming changes a view.
"""

import numpy as np
import tensorflow as tf

from mec_tf.augment import photometric
from mec_tf.data import crops

_FOREVER = np.iinfo(np.int64).max
# A sample's seed: the epoch in the upper bits, its index in the lower ones.
_EPOCH = 2**40


def training_batches(
    source, policy, *, batch_size, seed, first_step=0, worker=0, workers=1
):
    """Returns endless batches of views, in a fresh order each epoch.

    Step t belongs to epoch `t // (source.size // batch_size)`. Each epoch goes
    through a permutation of all samples and drops the last incomplete batch.

    Args:
      source: the `Source` to read.
      policy: the `Policy` with the views.
      batch_size: images per step, over all workers.
      seed: int; with equal seeds the batches are equal.
      first_step: the step to begin with, as if the ones before had been taken.
      worker: which of the workers this is, in [0, workers).
      workers: how many share each step's batch; divides `batch_size`.

    Returns:
      A `tf.data.Dataset` of dicts, with n = batch_size / workers: "views", a
      tuple over views of uint8 `[n, s, s, 3]`; "draws", a tuple over views of
      float32 `[n, K]` in [0, 1) for `photometric.augment`; "index", int64
      `[n]`.

    Raises:
      ValueError: if the batch is larger than the source, or does not divide.
    """
    if not 1 <= batch_size <= source.size:
        raise ValueError(
            f"A batch of {batch_size} images was asked of {source.size} "
            f"({source.description}). Expected a batch between 1 and "
            f"{source.size}: lower --batch_size or add images."
        )
    if batch_size % workers:
        raise ValueError(
            f"A batch of {batch_size} images cannot be shared evenly by "
            f"{workers} workers. Make --batch_size a multiple of {workers}."
        )
    views = policy.views
    numbers = crops.NUM_DRAWS + photometric.NUM_DRAWS

    def sample(index, epoch):
        draws = tf.random.stateless_uniform(
            [len(views), numbers], [seed, epoch * _EPOCH + index]
        )
        image = source.image(index)
        geometry = draws[:, : crops.NUM_DRAWS]
        boxes = crops.random_boxes(tf.shape(image)[:2], geometry, views)
        cuts = []
        for number, view in enumerate(views):
            pixels = crops.cut(
                image, boxes[number], view.size, policy.interpolation
            )
            flipped = geometry[number, -1] < view.flip
            cuts.append(
                tf.cond(
                    flipped, lambda p=pixels: p[:, ::-1], lambda p=pixels: p
                )
            )
        photometry = draws[:, crops.NUM_DRAWS :]
        return {
            "views": tuple(cuts),
            "draws": tuple(tf.unstack(photometry)),
            "index": index,
        }

    samples = _order(source.size, batch_size, seed, first_step, worker, workers)
    batches = samples.map(
        sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    ).batch(batch_size // workers, drop_remainder=True)
    return _options(batches).prefetch(2)


def _order(size, batch_size, seed, first_step, worker, workers):
    """Returns endless (index, epoch) in order, from `first_step` on."""
    steps = size // batch_size
    first_epoch, skipped = divmod(first_step, steps)
    share = batch_size // workers

    def epoch_samples(epoch):
        # Negative, so that it never meets the seed of a sample.
        order = tf.random.experimental.stateless_shuffle(
            tf.range(size, dtype=tf.int64), [seed, -1 - epoch]
        )
        batches = tf.reshape(order[: steps * batch_size], [steps, batch_size])
        begin = tf.where(epoch == first_epoch, skipped, 0)
        rows = batches[begin:, worker * share : (worker + 1) * share]
        indices = tf.data.Dataset.from_tensor_slices(tf.reshape(rows, [-1]))
        return indices.map(lambda index: (index, epoch))

    epochs = tf.data.Dataset.range(first_epoch, _FOREVER)
    return epochs.flat_map(epoch_samples)


def evaluation_batches(
    source,
    *,
    image_size,
    batch_size,
    crop_fraction=0.875,
    interpolation="bicubic",
):
    """Returns the whole source once, in order, one centre crop per image.

    Args:
      source: the `Source` to read.
      image_size: side of the crop, in pixels.
      batch_size: images per batch; the last batch may hold fewer.
      crop_fraction: the crop's side as a part of the resized image's short
        side, in (0, 1].
      interpolation: "bicubic" or "bilinear".

    Returns:
      A `tf.data.Dataset` of {"image": uint8 `[n, s, s, 3]`, "label": int64
      `[n]` (-1 where there are no labels), "index": int64 `[n]`}.
    """
    labels = source.labels
    if labels is None:
        labels = np.full([source.size], -1, np.int64)
    labels = tf.constant(labels)

    def sample(index):
        image = crops.centre_crop(
            source.image(index),
            size=image_size,
            crop_fraction=crop_fraction,
            interpolation=interpolation,
        )
        return {
            "image": image,
            "label": tf.gather(labels, index),
            "index": index,
        }

    samples = tf.data.Dataset.range(source.size)
    batches = samples.map(
        sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    ).batch(batch_size)
    return _options(batches).prefetch(2)


def _options(dataset):
    options = tf.data.Options()
    options.deterministic = True
    # Workers are told apart by `worker`, not by TensorFlow.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return dataset.with_options(options)
