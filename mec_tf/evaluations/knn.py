"""Weighted k-nearest-neighbour accuracy of frozen features.

The protocol is that of Wu et al., "Unsupervised Feature Learning via
Non-Parametric Instance Discrimination" (CVPR 2018), section 3.4: cosine
similarity s to the k nearest references, each voting exp(s / temperature) for
its class.
"""

import numpy as np

CHUNK = 1024  # queries at a time: bounds the memory to CHUNK x references


DRAWS = 20  # banks over which few-label scores are averaged


def run(bank, test, *, k, temperature, labels_per_class, seed):
    """Scores features by the protocol.

    Args:
        bank: Labelled `Features`, the references.
        test: Labelled `Features`, the queries.
        k: Neighbours that vote.
        temperature: Of the votes, above 0.
        labels_per_class: Also score 1-NN with so many references per class,
            the mean over 20 draws; 0: do not.
        seed: Seeds the draws.

    Returns:
        Dict of shares in [0, 1]: `top1`, and with few labels
        `top1_N_labels_per_class` and its standard deviation over the draws.
    """
    scores = {"top1": accuracy(bank, test, k=k, temperature=temperature)}
    if labels_per_class:
        mean, deviation = few_label_accuracy(
            bank,
            test,
            labels_per_class=labels_per_class,
            draws=DRAWS,
            seed=seed,
        )
        name = f"top1_{labels_per_class}_labels_per_class"
        scores |= {name: mean, f"{name}_std": deviation}
    return scores


def predict(references, queries, *, k, temperature, classes):
    """Predicts the classes of queries from labelled references.

    Args:
        references: `Features` with labels in [0, classes).
        queries: float32 `[n, d]`.
        k: Neighbours that vote; at most all references.
        temperature: Above 0; small values let the nearest decide.
        classes: Number of classes.

    Returns:
        int64 `[n]`.
    """
    k = min(k, len(references.values))
    bank = _normalise(references.values)
    predictions = []
    for start in range(0, len(queries), CHUNK):
        similarity = _normalise(queries[start : start + CHUNK]) @ bank.T
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        weights = np.exp(
            (np.take_along_axis(similarity, nearest, axis=1) - 1) / temperature
        )
        votes = np.zeros((len(similarity), classes))
        rows = np.arange(len(similarity))[:, None]
        np.add.at(votes, (rows, references.labels[nearest]), weights)
        predictions.append(votes.argmax(axis=1))
    return np.concatenate(predictions)


def accuracy(references, queries, *, k=20, temperature=0.07):
    """Share in [0, 1] of queries whose class is predicted right.

    Args:
        references: Labelled `Features`, the bank.
        queries: Labelled `Features`.
        k: Neighbours that vote.
        temperature: Of the votes, above 0.
    """
    classes = int(max(references.labels.max(), queries.labels.max())) + 1
    predicted = predict(
        references,
        queries.values,
        k=k,
        temperature=temperature,
        classes=classes,
    )
    return float(np.mean(predicted == queries.labels))


def few_label_accuracy(
    references, queries, *, labels_per_class, draws, seed, k=1, temperature=0.07
):
    """Mean and standard deviation of the accuracy over small banks.

    Args:
        references: Labelled `Features` to draw from.
        queries: Labelled `Features`.
        labels_per_class: References kept per class.
        draws: Number of random banks.
        seed: Seeds the draws.
        k: Neighbours that vote.
        temperature: Of the votes, above 0.

    Returns:
        (mean, standard deviation), each in [0, 1].

    Raises:
        ValueError: If a class has fewer references than are asked for.
    """
    generator = np.random.default_rng(seed)
    members = [
        np.flatnonzero(references.labels == label)
        for label in np.unique(references.labels)
    ]
    fewest = min(len(rows) for rows in members)
    if labels_per_class > fewest:
        raise ValueError(
            f"labels_per_class={labels_per_class}, but the smallest class has"
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
        bank = type(references)(
            references.values[rows], references.labels[rows]
        )
        scores.append(accuracy(bank, queries, k=k, temperature=temperature))
    return float(np.mean(scores)), float(np.std(scores))


def _normalise(features):
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(norms, np.finfo(np.float32).tiny)
