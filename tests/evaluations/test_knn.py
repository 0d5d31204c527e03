import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from mec_tf.evaluations import knn
from mec_tf.evaluations.features import Features


def clusters(n, seed, classes=5, d=8, spread=1.5):
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(classes, d))
    labels = generator.integers(classes, size=n)
    values = centres[labels] + spread * generator.normal(size=(n, d))
    return Features(values.astype(np.float32), labels)


@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_predictions_are_those_of_scikit_learn(k, temperature):
    references, queries = clusters(3000, 1), clusters(2500, 2)

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    # Between unit vectors |a - b|^2 = 2 - 2 cos(a, b).
    reference = KNeighborsClassifier(
        k, weights=lambda distance: np.exp(-(distance**2) / 2 / temperature)
    ).fit(unit(references.values), references.labels)
    ours = knn.predict(
        references, queries.values, k=k, temperature=temperature, classes=5
    )
    expected = reference.predict(unit(queries.values))
    assert np.array_equal(ours, expected)
    assert knn.accuracy(references, queries, k=k, temperature=temperature) == (
        np.mean(expected == queries.labels)
    )


def test_k_beyond_the_references_uses_all_of_it():
    references = clusters(7, 1)
    queries = clusters(50, 2)
    assert knn.accuracy(references, queries, k=20) == knn.accuracy(
        references, queries, k=7
    )


def test_few_labels_are_balanced_seeded_and_worse():
    references, queries = clusters(3000, 1), clusters(500, 2)

    def few(n, seed=0):
        return knn.few_label_accuracy(
            references, queries, labels_per_class=n, draws=10, seed=seed
        )

    assert few(10) == few(10)
    assert few(10) != few(10, seed=1)
    assert few(2)[0] < few(100)[0]


def test_more_labels_than_there_are_is_refused():
    with pytest.raises(ValueError, match="smallest class has"):
        knn.few_label_accuracy(
            clusters(30, 1),
            clusters(5, 2),
            labels_per_class=99,
            draws=1,
            seed=0,
        )


@pytest.mark.parametrize("metric", knn.METRICS)
def test_chunks_change_nothing(metric, monkeypatch, tmp_path):
    references, queries = clusters(1000, 1), clusters(700, 2)
    options = {"k": 20, "temperature": 0.5, "classes": 5, "metric": metric}
    whole = knn.predict(references, queries.values, **options)
    monkeypatch.setattr(knn, "REFERENCES", 7)  # fewer than k
    monkeypatch.setattr(knn, "QUERIES", 300)
    np.save(tmp_path / "references.npy", references.values)
    on_disk = np.load(tmp_path / "references.npy", mmap_mode="r")
    streamed = knn.predict(
        references._replace(values=on_disk), queries.values, **options
    )
    assert np.array_equal(streamed, whole)


@pytest.mark.parametrize("temperature", [0.5, np.inf])
def test_euclidean_predictions_are_those_of_scikit_learn(temperature):
    references, queries = clusters(3000, 1), clusters(2500, 2)
    reference = KNeighborsClassifier(
        20, weights=lambda distance: np.exp(-(distance**2) / 2 / temperature)
    ).fit(references.values, references.labels)
    ours = knn.predict(
        references,
        queries.values,
        k=20,
        temperature=temperature,
        classes=5,
        metric="euclidean",
    )
    assert np.array_equal(ours, reference.predict(queries.values))


def test_far_from_all_references_the_nearest_still_vote():
    references, queries = clusters(300, 1), clusters(50, 2)
    near, far = (
        knn.predict(
            Features(scale * references.values, references.labels),
            scale * queries.values,
            k=1,
            temperature=0.07,
            classes=5,
            metric="euclidean",
        )
        for scale in (1, 1000)
    )
    assert np.array_equal(near, far)
