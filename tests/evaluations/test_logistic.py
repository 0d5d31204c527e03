"""Against SciPy's minimiser on the objective as NumPy states it, float64."""

import numpy as np
import scipy.optimize
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from mec_tf.evaluations import logistic, metrics
from mec_tf.evaluations.features import Features

NAMES = ("ant", "bee", "cat", "dog")


def clusters(n, seed, d=6):
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(len(NAMES), d))
    labels = generator.integers(len(NAMES), size=n)
    values = 0.02 * (7 + centres[labels] + generator.normal(size=(n, d)))
    return Features(values.astype(np.float32), labels)


def optimum(features, penalty):
    """argmin of sum of losses + penalty / 2 |W|^2: W [d, c], b [c]."""
    x, y = features.values.astype(np.float64), features.labels
    n, d = x.shape
    onehot = np.eye(len(NAMES))[y]

    def objective(theta):
        w, b = theta[:-1], theta[-1]
        z = x @ w + b
        loss = logsumexp(z, axis=1).sum() - np.sum(z * onehot)
        p = np.exp(z - logsumexp(z, axis=1, keepdims=True)) - onehot
        gradient = np.vstack([x.T @ p + penalty * w, p.sum(axis=0)])
        return loss + penalty / 2 * np.sum(w**2), gradient

    shape = (d + 1, len(NAMES))

    def flat(theta):
        loss, gradient = objective(theta.reshape(shape))
        return loss, gradient.ravel()

    found = scipy.optimize.minimize(
        flat,
        np.zeros(np.prod(shape)),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-9, "maxiter": 5000},
    )
    return np.split(found.x.reshape(shape), [d])


def test_it_is_the_optimum_and_the_penalty_is_the_validation_s_best():
    train, test = clusters(400, 1), clusters(300, 2)
    validation = np.arange(400) % 4 == 0
    found = logistic.run(
        train,
        test,
        class_names=NAMES,
        validation=validation,
        metric="top1",
        penalties=5,
    )
    assert found["converged"]
    penalties = list(found["validation"])
    assert np.allclose(penalties, np.geomspace(1e5, 1e-6, 5))

    part = Features(train.values[~validation], train.labels[~validation])
    held_out = train.values[validation]
    for penalty, score in found["validation"].items():
        w, b = optimum(part, penalty)
        predicted = (held_out @ w + b).argmax(axis=1)
        accuracy = np.mean(predicted == train.labels[validation])
        assert abs(accuracy - score) <= 0.011, penalty  # one image of 100
    best = max(found["validation"], key=found["validation"].get)
    assert found["penalty"] == best

    w, b = optimum(train, best)
    predicted = (test.values @ w + b).argmax(axis=1)
    assert found["top1"] == np.mean(predicted == test.labels)


def test_coefficients_are_the_optimum_s():
    """With the settings and on the scale that `run` fits with."""
    train = clusters(400, 1)
    values = train.values.astype(np.float64)
    values -= values.mean(axis=0)
    values /= values.std()
    for penalty in (1e3, 1e-2, 1e-4):
        classifier = logistic.LogisticClassifier(
            train.labels, NAMES, **logistic._FINAL
        )
        classifier.fit(values, train.labels, penalty)
        assert classifier.converged
        w, _ = optimum(Features(values, train.labels), penalty)
        (part,) = classifier.parts
        # Adding one vector to all classes' weights changes nothing but |W|,
        # whose least is where they sum to 0.
        assert np.allclose(part.coef_.T, w, atol=1e-4 * np.abs(w).max())


def test_several_classes_each_are_binary_problems():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(300, 5)).astype(np.float32)
    labels = (values @ generator.normal(size=(5, 3)) > 0.5).astype(np.int64)
    labels[::7] = -1
    train = Features(values[:200], labels[:200])
    test = Features(values[200:], labels[200:])
    found = logistic.run(
        train,
        test,
        class_names=NAMES[:3],
        validation=np.arange(200) % 5 == 0,
        metric="map11",
        penalties=4,
    )
    assert found["map11"] > 0.9
    # Class 0 against scikit-learn alone, on the images that count.
    keep = train.labels[:, 0] >= 0
    alone = LogisticRegression(
        C=1 / found["penalty"], max_iter=5000, tol=1e-8
    ).fit(train.values[keep], train.labels[keep, 0])
    expected = metrics.mean_average_precision(
        alone.decision_function(test.values)[:, None], test.labels[:, :1], "a"
    )
    assert np.isclose(found["per_class"]["ant"], expected["map11"], atol=1e-3)


def test_a_class_without_examples_is_never_chosen():
    train = clusters(200, 1)
    kept = train.labels != 2
    train = Features(train.values[kept], train.labels[kept])
    classifier = logistic.LogisticClassifier(
        train.labels, NAMES, max_iter=99, tol=1e-4
    )
    classifier.fit(train.values, train.labels, 1.0)
    decisions = classifier.decide(train.values)
    assert np.all(decisions[:, 2] == -np.inf)
    assert np.isfinite(decisions[:, [0, 1, 3]]).all()
