import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from mec_tf.evaluations import metrics

NAMES = tuple("abcdefg")


def predictions(seed, n=400):
    generator = np.random.default_rng(seed)
    labels = generator.integers(len(NAMES), size=n)
    scores = generator.normal(size=(n, len(NAMES)))
    scores[np.arange(n), labels] += 1
    return scores, labels


def test_accuracies_are_those_of_scikit_learn():
    scores, labels = predictions(0)
    found = metrics.accuracies(metrics.ranks(scores, labels), labels, NAMES)
    predicted = scores.argmax(axis=1)
    assert found["top1"] == np.mean(predicted == labels)
    assert np.isclose(found["top5"], top_k_accuracy_score(labels, scores, k=5))
    assert np.isclose(
        found["mean_per_class"], balanced_accuracy_score(labels, predicted)
    )
    assert found["per_class"]["c"] == np.mean(predicted[labels == 2] == 2)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_one_that_tells_nothing_hits_nothing(value):
    rank = metrics.ranks(np.full([3, 7], value), [0, 1, 2])
    assert np.all(rank == 6)


def devkit_ap(scores, labels):
    """VOCevalcls of the devkit, line by line."""
    order = np.argsort(-scores, kind="stable")
    gt = labels[order]
    tp = np.cumsum(gt == 1)
    fp = np.cumsum(gt == 0)
    recall = tp / np.sum(labels == 1)
    precision = tp / (fp + tp)
    ap = 0.0
    for k in range(11):
        reached = precision[recall >= k / 10 - 1e-9]
        ap += (reached.max() if reached.size else 0.0) / 11
    return ap


@pytest.mark.parametrize(
    ("labels", "ap"),
    [
        ([1, 1, 0, 0], 1.0),
        # Precision 1/2 at recall 1, for all 11 levels.
        ([0, 1, 0, 0], 1 / 2),
        # 1 up to recall 0.5 (levels 0 to 0.5), then 2/4.
        ([1, 0, 0, 1], (6 * 1 + 5 * 2 / 4) / 11),
        # The difficult one does not count.
        ([1, -1, 0, 1], (6 * 1 + 5 * 2 / 3) / 11),
    ],
)
def test_average_precision_by_hand(labels, ap):
    scores = np.array([[4.0], [3.0], [2.0], [1.0]])
    found = metrics.mean_average_precision(
        scores, np.array(labels)[:, None], ["cat"]
    )
    assert found == {
        "map11": pytest.approx(ap),
        "per_class": {"cat": pytest.approx(ap)},
    }


def test_mean_average_precision_is_the_devkits():
    generator = np.random.default_rng(0)
    labels = generator.integers(-1, 2, [300, 5])
    labels[:, 4] = 0  # a class that does not occur is left out
    scores = labels + generator.normal(size=[300, 5])
    expected = [
        devkit_ap(scores[keep, k], labels[keep, k])
        for k in range(4)
        for keep in [labels[:, k] >= 0]
    ]
    found = metrics.mean_average_precision(scores, labels, "abcde")
    assert np.isclose(found["map11"], np.mean(expected), atol=1e-12)
