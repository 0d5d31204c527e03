"""A part of a source, as a source."""

import dataclasses

import numpy as np
import tensorflow as tf


def sample(source, count, *, seed):
    """Returns a source itself, or a random sample where it is larger.

    Args:
        source: `sources.Source`.
        count: Most images of the sample.
        seed: Seeds the choice.
    """
    if source.size <= count:
        return source
    chosen = np.sort(
        np.random.default_rng(seed).choice(source.size, count, replace=False)
    )
    rows = tf.constant(chosen)
    names = source.file_names
    return dataclasses.replace(
        source,
        description=f"{count:,} images drawn from {source.description}",
        size=count,
        image=lambda index: source.image(tf.gather(rows, index)),
        labels=None if source.labels is None else source.labels[chosen],
        file_names=names and tuple(names[row] for row in chosen),
    )
