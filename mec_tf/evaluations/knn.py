"""Weighted k-nearest-neighbour accuracy of frozen features.

The protocol is that of Wu et al., "Unsupervised Feature Learning via
Non-Parametric Instance Discrimination" (CVPR 2018), section 3.4: cosine
similarity s to the k nearest references, each voting exp(s / temperature) for
its class. Between unit vectors s = 1 - |a - b|^2 / 2, so the Euclidean variant
votes exp(-|a - b|^2 / (2 temperature)) on features as they are.
"""

import numpy as np
import tensorflow as tf

from mec_tf.errors import UserError
from mec_tf.evaluations.protocols import on_labelled_images
from mec_tf.evaluations.subjects import frozen_features

METRICS = ("cosine", "euclidean")
# At a time, so that memory holds REFERENCES x d, QUERIES x d and QUERIES x
# REFERENCES numbers (2,048 dimensions: 320 MB) however many there are.
REFERENCES = 16_384
QUERIES = 2_048
# Of few references, over which such scores are averaged.
DRAWS = 20


def run(
    references,
    test,
    *,
    k,
    temperature,
    metric="cosine",
    labels_per_class=None,
    seed=0,
):
    """Scores features by the protocol.

    Args:
        references: Labelled `Features`.
        test: Labelled `Features`, the queries.
        k: Neighbours that vote.
        temperature: Of the votes, above 0; infinite: votes weigh the same.
        metric: "cosine" or "euclidean".
        labels_per_class: Also score 1-NN with so many references per class,
            the mean over 20 draws; None: do not.
        seed: Seeds the draws.

    Returns:
        Dict of shares in [0, 1]: `top1`, and with few labels
        `top1_N_labels_per_class` and its standard deviation over the draws.

    Raises:
        UserError: If images are of several classes each.
    """
    if references.labels.ndim > 1:
        raise UserError(
            "knn votes for one class, but these images are of several each;"
            " score them with `protocol`=logistic, linear or finetune"
        )
    options = {"temperature": temperature, "metric": metric}
    scores = {"top1": accuracy(references, test, k=k, **options)}
    if labels_per_class:
        mean, deviation = few_label_accuracy(
            references,
            test,
            labels_per_class=labels_per_class,
            draws=DRAWS,
            seed=seed,
            **options,
        )
        name = f"top1_{labels_per_class}_labels_per_class"
        scores |= {name: mean, f"{name}_std": deviation}
    return scores


def predict(references, queries, *, k, temperature, classes, metric="cosine"):
    """Predicts the classes of queries from labelled references.

    Args:
        references: `Features` with labels in [0, classes); values may be
            memory-mapped, and are read once, in chunks.
        queries: float32 `[n, d]`; likewise, once per chunk of references.
        k: Neighbours that vote; at most all references.
        temperature: Above 0; small values let the nearest decide.
        classes: Number of classes.
        metric: "cosine" or "euclidean".

    Returns:
        int64 `[n]`.
    """
    similarity, nearest = neighbours(
        references.values, queries, k=k, metric=metric
    )
    # Relative to the nearest, so that nothing underflows.
    weights = np.exp((similarity - similarity[:, :1]) / temperature)
    labels = references.labels[nearest]
    predictions = np.empty(len(labels), np.int64)
    for start in range(0, len(labels), QUERIES):
        chunk = slice(start, start + QUERIES)
        votes = np.zeros((len(labels[chunk]), classes))
        rows = np.arange(len(votes))[:, None]
        np.add.at(votes, (rows, labels[chunk]), weights[chunk])
        predictions[chunk] = votes.argmax(axis=1)
    return predictions


def neighbours(references, queries, *, k, metric="cosine"):
    """Finds the nearest references of each query, nearest first.

    Args:
        references: float32 `[r, d]`, perhaps memory-mapped.
        queries: float32 `[n, d]`, likewise.
        k: How many; at most r.
        metric: "cosine": s is the cosine similarity; "euclidean": minus half
            the squared distance.

    Returns:
        (s, index): float64 `[n, k]`, descending, and int64 `[n, k]`.
    """
    k = min(k, len(references))
    best = np.full((len(queries), k), -np.inf, np.float32)
    index = np.zeros((len(queries), k), np.int64)
    for start in range(0, len(references), REFERENCES):
        part = _prepared(references[start : start + REFERENCES], metric)
        for first in range(0, len(queries), QUERIES):
            chunk = slice(first, first + QUERIES)
            found, at = tf.math.top_k(
                _similarity(_prepared(queries[chunk], metric), part, metric),
                min(k, len(part)),
            )
            # Earlier references come first, and win ties.
            merged = np.concatenate([best[chunk], found], axis=1)
            merged_at = np.concatenate([index[chunk], start + at], axis=1)
            order = np.argsort(-merged, axis=1, kind="stable")[:, :k]
            best[chunk] = np.take_along_axis(merged, order, axis=1)
            index[chunk] = np.take_along_axis(merged_at, order, axis=1)
    return best.astype(np.float64), index


def _prepared(features, metric):
    features = tf.constant(np.asarray(features, np.float32))
    if metric == "cosine":
        return tf.math.l2_normalize(features, axis=1, epsilon=1e-38)
    return features


def _similarity(queries, references, metric):
    """`[q, r]`, of prepared queries `[q, d]` and references `[r, d]`."""
    products = tf.matmul(queries, references, transpose_b=True)
    if metric == "cosine":
        return products
    squares = tf.reduce_sum(tf.square(references), axis=1)
    own = tf.reduce_sum(tf.square(queries), axis=1, keepdims=True)
    return products - (squares + own) / 2


def accuracy(references, queries, *, k=20, temperature=0.07, metric="cosine"):
    """Share in [0, 1] of queries whose class is predicted right.

    Args:
        references: Labelled `Features`.
        queries: Labelled `Features`.
        k: Neighbours that vote.
        temperature: Of the votes, above 0.
        metric: "cosine" or "euclidean".
    """
    classes = int(max(references.labels.max(), queries.labels.max())) + 1
    predicted = predict(
        references,
        queries.values,
        k=k,
        temperature=temperature,
        classes=classes,
        metric=metric,
    )
    return float(np.mean(predicted == queries.labels))


def few_label_accuracy(
    references, queries, *, labels_per_class, draws, seed, k=1, **options
):
    """Mean and standard deviation of the accuracy over draws of few references.

    Args:
        references: Labelled `Features` to draw from.
        queries: Labelled `Features`.
        labels_per_class: References kept per class.
        draws: Number of draws.
        seed: Seeds the draws.
        k: Neighbours that vote.
        **options: `temperature` and `metric` of `accuracy`.

    Returns:
        (mean, standard deviation), each in [0, 1].

    Raises:
        UserError: If a class has fewer references than are asked for.
    """
    generator = np.random.default_rng(seed)
    members = [
        np.flatnonzero(references.labels == label)
        for label in np.unique(references.labels)
    ]
    fewest = min(len(rows) for rows in members)
    if labels_per_class > fewest:
        raise UserError(
            f"`labels_per_class`={labels_per_class}, but the smallest class has"
            f" {fewest} labelled images; give at most {fewest}"
        )
    scores = []
    for _ in range(draws):
        rows = np.concatenate(
            [
                generator.choice(rows, labels_per_class, replace=False)
                for rows in members
            ]
        )
        drawn = type(references)(
            references.values[rows], references.labels[rows]
        )
        scores.append(accuracy(drawn, queries, k=k, **options))
    return float(np.mean(scores)), float(np.std(scores))


def _score(subject, task, evaluation):
    config = evaluation.config
    references, test = frozen_features(subject, config, task.train, task.test)
    return run(
        references,
        test,
        k=config.knn_k,
        temperature=config.knn_temperature,
        metric=config.knn_metric,
        labels_per_class=config.labels_per_class,
        seed=config.seed,
    )


PROTOCOL = on_labelled_images(
    _score,
    settings=frozenset(
        {
            *("knn_k", "knn_temperature", "knn_metric", "labels_per_class"),
            "feature_cache",
        }
    ),
)
