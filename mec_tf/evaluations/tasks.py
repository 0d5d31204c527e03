"""The labelled images that encoders are scored on, and their metric."""

from typing import NamedTuple

import numpy as np

from mec_tf.config import EvaluateConfig
from mec_tf.data import labelled, sources
from mec_tf.data.sources import Source
from mec_tf.errors import UserError


class Task(NamedTuple):
    """Labelled images and the metric to score an encoder with.

    Attributes:
        train: Labelled `Source` to train on or to compare with.
        test: Labelled `Source` to score.
        metric: Name of the score.
    """

    train: Source
    test: Source
    metric: str


def make_task(
    config: EvaluateConfig, *, metric: str | None, **dataset: str
) -> Task:
    """Loads the labelled images of a config.

    Args:
        config: Of the evaluation.
        metric: Name of the score. Default: what fits the labels.
        **dataset: Arguments of `data.sources.load` that differ from the
            config's.

    Raises:
        UserError: If the images have no labels, or the metric does not fit
            them.
    """
    splits = sources.load(**config.source_options() | dataset)
    train, test = splits.references, splits.test
    if train is None or test is None:
        raise UserError(
            f"{splits.pretrain.description} has no labels to score with; give"
            " images in one subfolder per class"
        )
    if train is splits.pretrain:  # not where the test was held out of it
        labelled.check(train, test)
    metric = metric or ("map11" if train.multi_label else "top1")
    if train.multi_label != (metric == "map11"):
        raise UserError(
            f"`metric`={metric}: an image of {train.description} is of"
            f" {'several classes' if train.multi_label else 'one class'}; leave"
            " the metric out"
        )
    if config.split_file:
        train = labelled.listed(train, config.split_file)
    train = labelled.fraction(train, config.label_fraction, seed=config.seed)
    return Task(train, test, metric)


def validation_part(
    source: Source, config: EvaluateConfig
) -> np.ndarray | None:
    """A mask of the validation images, boolean `[n]`, or None for none."""
    if not config.validation_fraction:
        return None
    return labelled.hold_out(
        source, config.validation_fraction, seed=config.seed
    )
