"""Scores of a classifier: accuracies from ranks, 11-point mean precision."""

import numpy as np

METRICS = ("top1", "mean_per_class", "map11")


def ranks(scores, labels):
    """How many classes are not scored below the true one, per image.

    0 is a hit. Ties count against the classifier, and so does NaN: one that
    gives all classes the same score, or none, hits nothing.

    Args:
        scores: `[n, classes]`.
        labels: int `[n]`, in [0, classes).

    Returns:
        int64 `[n]`, in [0, classes).
    """
    scores = np.asarray(scores)
    true = np.take_along_axis(scores, np.asarray(labels)[:, None], axis=1)
    return np.sum(~(true > scores), axis=1) - 1


def accuracies(rank, labels, class_names):
    """Accuracies of single-label predictions.

    Args:
        rank: int `[n]`, as `ranks` returns them.
        labels: int `[n]`.
        class_names: One per class.

    Returns:
        Dict of shares in [0, 1]: `top1`; `top5` where there are more than five
        classes; `mean_per_class`, over the classes that occur; and `per_class`,
        a dict of theirs by name.
    """
    hits = rank == 0
    per_class = {
        class_names[label]: float(np.mean(hits[labels == label]))
        for label in np.unique(labels)
    }
    scores = {"top1": float(np.mean(hits))}
    if len(class_names) > 5:
        scores["top5"] = float(np.mean(rank < 5))
    return scores | {
        "mean_per_class": float(np.mean(list(per_class.values()))),
        "per_class": per_class,
    }


def mean_average_precision(scores, labels, class_names):
    """VOC2007's mean average precision, interpolated at 11 recalls.

    AP is the mean over r = 0, 0.1, ..., 1 of the highest precision reached at
    a recall of r or more (Everingham et al., IJCV 2010, section 4.2.1).

    Args:
        scores: `[n, classes]`.
        labels: int `[n, classes]`: 1 present, 0 absent, -1 neither (difficult).
        class_names: One per class.

    Returns:
        Dict of shares in [0, 1]: `map11`, over the classes that are present in
        an image, and `per_class`, a dict of the average precisions by name.
    """
    per_class = {}
    for column, name in enumerate(class_names):
        counted = labels[:, column] >= 0
        present = labels[counted, column] == 1
        if present.any():
            per_class[name] = _average_precision(
                scores[counted, column], present
            )
    return {
        "map11": float(np.mean(list(per_class.values()))),
        "per_class": per_class,
    }


def _average_precision(scores, present):
    # NaN goes last, as the lowest score.
    order = np.argsort(np.nan_to_num(-scores, nan=np.inf), kind="stable")
    hits = np.cumsum(present[order])
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / hits[-1]
    # The devkit's tolerance: 0.1 k is not exact in binary.
    levels = np.arange(11) / 10 - 1e-12
    return float(
        np.mean([precision[recall >= level].max() for level in levels])
    )
