"""L2-regularised logistic regression on frozen features, by L-BFGS.

The transfer protocol of SimCLR (Chen et al., 2020, appendix B.8) and BYOL
(Grill et al., 2020, appendix D): the penalty is chosen among 45 values on a
validation part, then the classifier is fitted to all training images. The
objective is the sum of the images' losses plus penalty / 2 |W|^2; images of
several classes each get one binary classifier per class.
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from mec_tf.errors import UserError
from mec_tf.evaluations import metrics
from mec_tf.evaluations.protocols import on_labelled_images
from mec_tf.evaluations.subjects import frozen_features
from mec_tf.evaluations.tasks import validation_part

# The range of both papers.
STRONGEST, WEAKEST = 1e5, 1e-6
# Of L-BFGS: steps at most, and the gradient's greatest element at the end.
_SEARCH = {"max_iter": 100, "tol": 1e-5}
_FINAL = {"max_iter": 1_000, "tol": 1e-6}
# Of features, read at a time.
_ROWS = 4_096


def run(train, test, *, class_names, validation, metric, penalties=45):
    """Scores features by the protocol.

    Memory holds the training features once, as float64; those of the test are
    read in chunks.

    Args:
        train: Labelled `Features` to fit to; perhaps memory-mapped.
        test: Labelled `Features` to score, likewise.
        class_names: One per class.
        validation: Boolean `[n]` of the training features: where the penalty is
            chosen.
        metric: The score that chooses, of `metrics.METRICS`.
        penalties: How many to try, log-spaced in [1e-6, 1e5].

    Returns:
        Dict: the scores of `metrics`; `penalty`; and `validation`, a dict from
        each penalty tried to its score.
    """
    # The intercept is free and the penalty scales with the square, so that
    # standardising all features alike changes nothing but the speed.
    mean, scale = _moments(train.values)
    # What chooses comes last, so that both parts are views of one array.
    order = np.argsort(validation, kind="stable")
    count = len(order) - np.count_nonzero(validation)
    labels = train.labels[order]
    values = np.empty(train.values.shape)  # in float32 L-BFGS stalls
    for rows in _chunks(len(order)):
        values[rows] = _standardised(train.values[order[rows]], mean, scale)

    tried = {}
    search = LogisticClassifier(labels, class_names, **_SEARCH)
    for penalty in np.geomspace(STRONGEST, WEAKEST, penalties):
        # Each fit starts from the one before.
        search.fit(values[:count], labels[:count], penalty / scale**2)
        decisions = search.decide(values[count:])
        found = score(decisions, labels[count:], class_names)
        tried[float(penalty)] = found[metric]
    best = max(tried, key=tried.get)  # the strongest of equals
    final = LogisticClassifier(labels, class_names, **_FINAL)
    final.fit(values, labels, best / scale**2)
    decisions = np.concatenate(
        [
            final.decide(_standardised(test.values[rows], mean, scale))
            for rows in _chunks(len(test.values))
        ]
    )
    return {
        **score(decisions, test.labels, class_names),
        "penalty": best,
        "converged": final.converged,
        "validation": tried,
    }


def _chunks(count):
    return [slice(at, at + _ROWS) for at in range(0, count, _ROWS)]


def _moments(values):
    """Mean of each feature, float64 `[d]`, and one deviation of them all."""
    total = np.zeros(values.shape[1])
    for rows in _chunks(len(values)):
        total += np.sum(values[rows], axis=0, dtype=np.float64)
    mean = total / len(values)
    squares = 0.0
    for rows in _chunks(len(values)):
        squares += np.sum(np.square(values[rows] - mean))
    return mean, np.sqrt(squares / values.size) or 1.0


def _standardised(values, mean, scale):
    """float64 `[n, d]`, made without more than one copy."""
    found = values - mean
    found /= scale
    return found


def score(decisions, labels, class_names):
    """The scores of `metrics` that fit the labels."""
    if labels.ndim > 1:
        return metrics.mean_average_precision(decisions, labels, class_names)
    return metrics.accuracies(
        metrics.ranks(decisions, labels), labels, class_names
    )


def _threads(values, classes):
    """Gives BLAS one thread where products are small.

    Its threads wait for each other thousands of times per fit: on 2 busy cores
    6,400 x 128 features took 11 s instead of 0.3 s.
    """
    small = values.size * classes < 2e9
    return threadpool_limits(1 if small else None, user_api="blas")


def _start(part, shares, dimensions):
    """Starts at the optimum of an infinite penalty: the classes' shares.

    From zero, L-BFGS stops short under strong penalties, where the weights
    bend the objective millions of times more than the offsets do.
    """
    offsets = np.log(shares) - np.mean(np.log(shares))
    if len(shares) == 2:
        offsets = offsets[1:] - offsets[:1]
    part.coef_ = np.zeros((len(offsets), dimensions))
    part.intercept_ = offsets


class LogisticClassifier:
    """One multinomial classifier, or one binary classifier per class.

    Args:
        labels: int64 `[n]` or `[n, classes]`.
        class_names: One per class.
        **solver: `max_iter` and `tol` of `LogisticRegression`.
    """

    def __init__(self, labels, class_names, **solver):
        self.classes = len(class_names)
        count = 1 if labels.ndim == 1 else self.classes
        self.parts = [
            LogisticRegression(warm_start=True, **solver) for _ in range(count)
        ]
        self.converged = True

    def fit(self, values, labels, penalty):
        """Fits to values `[n, d]`, from where the last fit ended."""
        self.converged = True
        for column, part in enumerate(self.parts):
            part.set_params(C=1 / penalty)
            rows, targets = slice(None), labels
            if labels.ndim > 1:
                targets = labels[:, column]
                if np.any(targets < 0):  # or nothing need be copied
                    rows = targets >= 0
                    targets = targets[rows]
            classes, counts = np.unique(targets, return_counts=True)
            if len(classes) < 2:
                continue  # nothing to tell apart
            if not hasattr(part, "coef_"):
                _start(part, counts / counts.sum(), values.shape[1])
            with warnings.catch_warnings(), _threads(values, self.classes):
                # Told by `converged`.
                warnings.simplefilter("ignore", ConvergenceWarning)
                part.fit(values[rows], targets)
            self.converged &= bool(part.n_iter_.max() < part.max_iter)

    def decide(self, values):
        """Scores `[n, classes]`; -inf for classes that it never saw."""
        decisions = np.full((len(values), self.classes), -np.inf)
        for column, part in enumerate(self.parts):
            if not hasattr(part, "classes_"):
                continue
            found = part.decision_function(values)
            if len(self.parts) > 1:
                decisions[:, column] = found
            elif found.ndim == 1:  # two classes
                decisions[:, part.classes_] = np.stack([-found, found], axis=1)
            else:
                decisions[:, part.classes_] = found
        return decisions


def _score(subject, task, evaluation):
    config = evaluation.config
    validation = validation_part(task.train, config)
    if validation is None:
        raise UserError(
            "`validation_fraction`=0: logistic chooses its penalty on a"
            " validation part; give a share above 0, such as 0.2"
        )
    train, test = frozen_features(subject, config, task.train, task.test)
    return run(
        train,
        test,
        class_names=task.train.class_names,
        validation=validation[train.index],
        metric=task.metric,
        penalties=config.penalties,
    )


PROTOCOL = on_labelled_images(
    _score,
    settings=frozenset({"validation_fraction", "penalties", "feature_cache"}),
    defaults={"validation_fraction": 0.2},
)
