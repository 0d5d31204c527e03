"""Maximum Entropy Coding: the objective of the paper, and its guard.

Liu, Wang, Li, Zhang and Tu, "Self-Supervised Learning via Maximum Entropy
Coding", NeurIPS 2022, https://arxiv.org/abs/2210.11464.

Two views of m images give two matrices of embeddings of dimension d, and

    L = mu log det(I + C),  C = lambda z1 z2^T,
    mu = (m + d) / 2,  lambda = 1 / (m distortion)

is the number of nats that it takes to code them up to a squared error of
`distortion` per dimension (eq. 1). Training makes it as large as possible. The
paper expands the logarithm (eq. 2), so that products of matrices are enough:

    L = mu Tr(C - C^2 / 2 + C^3 / 3 - C^4 / 4 + ...)

The rows of z1 and z2 are the embeddings here; the paper has them as columns.
C may be replaced by lambda z1^T z2, which is `[d, d]` instead of `[m, m]` and
has the same non-zero eigenvalues, hence the same trace and determinant.
"""

import functools

import tensorflow as tf

from mec_tf.objectives import log_det, pairing, sides
from mec_tf.objectives.chebyshev import chebyshev
from mec_tf.objectives.normalisation import checked_distortion, normalised
from mec_tf.objectives.objective import Objective
from mec_tf.objectives.replicas import ALONE, Replicas
from mec_tf.objectives.spectral_norm import (
    guarded_distortion as guarded_distortion,
)
from mec_tf.objectives.spectral_norm import spectral_norm as spectral_norm
from mec_tf.objectives.spectral_norm import spectral_norms


def coding_length(
    z1: tf.Tensor,
    z2: tf.Tensor,
    *,
    distortion: float | tf.Tensor,
    order: int = 4,
    form: str = "auto",
    embedding_norm: str = "l2",
    series: str = "taylor",
    replicas: Replicas = ALONE,
) -> tf.Tensor:
    """The coding length of two views of a batch, eqs. (1) and (2).

    Args:
        z1: embeddings of the first view, `[m / N, d]`, floating; this replica's
            rows out of the m of all N replicas. Not yet normalised.
        z2: embeddings of the second view, like `z1`.
        distortion: epsilon_d squared, the squared error allowed per dimension;
            positive, a number or a scalar tensor. No gradient flows to it.
        order: terms of the series, at least 1; 0 is the exact
            log-determinant.
        form: "batch" works with the `[m, m]` matrix, "feature" with the
            `[d, d]` one, "auto" with the cheaper. The values are equal.
        embedding_norm: "l2" gives every row unit length; "batch" gives every
            column of the global batch mean 0 and variance 1 / d.
        series: "taylor" is the paper's, about 0; "chebyshev" holds on the
            whole spectrum (see `objectives.chebyshev`). From order 2 on.
        replicas: the `Replicas` that share the batch.

    Returns:
        The coding length of the global batch in nats, a scalar, equal on all
        replicas; float64 for float64 embeddings, else float32. Its gradient
        with respect to `z1` and `z2` is that of the global batch's coding
        length with respect to this replica's rows.

    Raises:
        ValueError: shapes that are not two equal matrices, dtypes that are not
            floating and equal, a number `distortion` that is not positive, a
            negative `order`, an unknown `form`, `embedding_norm` or `series`.
    """
    batch, _, trace = _of_pair(
        z1, z2, distortion, order, form, embedding_norm, series, replicas
    )
    return _mu(batch) * trace


def mec_loss(
    z1: tf.Tensor,
    z2: tf.Tensor,
    *,
    distortion: float | tf.Tensor = 0.06,
    order: int = 4,
    form: str = "auto",
    embedding_norm: str = "l2",
    series: str = "taylor",
    replicas: Replicas = ALONE,
) -> tf.Tensor:
    """The loss to minimise: -coding_length / (mu lambda m).

    With this scale, which is that of the authors' code, the loss of order 1 is
    minus the mean cosine of the two views, so that learning rates carry over
    from BYOL and SimSiam, and do not depend on the batch, d or the distortion.

    Args:
        z1: embeddings of the first view, `[m / N, d]`, floating.
        z2: embeddings of the second view, like `z1`.
        distortion: as in `coding_length`; the paper's value by default.
        order: as in `coding_length`.
        form: as in `coding_length`.
        embedding_norm: as in `coding_length`.
        series: as in `coding_length`.
        replicas: as in `coding_length`.

    Returns:
        The loss of the global batch, a scalar, equal on all replicas; its
        gradient is as in `coding_length`.

    Raises:
        ValueError: as in `coding_length`.
    """
    batch, lam, trace = _of_pair(
        z1, z2, distortion, order, form, embedding_norm, series, replicas
    )
    return -trace / (lam * batch.m)


class MEC(Objective):
    """The mean MEC loss over pairs of views, with warm-up and guard.

    Args:
        distortion: epsilon_d squared, above 0, after the warm-up.
        order: terms of the series, eq. (2); 0: exact log-det, eq. (1).
        form: `auto`, `batch` or `feature`: the side of the matrix.
        embedding_norm: `l2` (rows) or `batch` (columns).
        series: `taylor`, the paper's, or `chebyshev`, which needs no guard.
        guard: raise the distortion of a step where the Taylor series would
            leave its region of convergence; of orders 2 and above alone, for
            one term has nothing to converge, and its loss no distortion.
        seed: seeds the start vectors of the guard's power iterations.
        warmup_steps: steps over which 1 / lambda falls from 8 times its value.
    """

    logged = ("coding_length", "spectral_norm", "effective_distortion")
    plotted = {"spectral_norm": r"$\Vert\lambda Z_1 Z_2^T\Vert$"}
    needed_because = (
        "`taylor_order`=1 is minus the mean cosine of one network with itself,"
        " which all images reach by one and the same embedding (an order of 2"
        " or more, or 0, exact, needs neither)"
    )
    remedy = "raise `distortion`"

    def __init__(
        self,
        distortion: float = 0.06,
        *,
        order: int = 4,
        form: str = "auto",
        embedding_norm: str = "l2",
        series: str = "taylor",
        guard: bool = True,
        seed: int = 0,
        warmup_steps: int = 0,
    ):
        super().__init__()
        _check(order, form, series)
        checked_distortion(distortion, tf.constant(1.0))
        self.distortion = distortion
        self.order = order
        self.form = form
        self.embedding_norm = embedding_norm
        self.series = series
        self.guard = guard and series == "taylor"
        self.seed = seed
        self.warmup_steps = warmup_steps

    @classmethod
    def from_settings(cls, settings, schedule):
        """As `Objective.from_settings` has it."""
        steps, notes = schedule.warmup(
            "lambda_warmup_epochs", settings.lambda_warmup_epochs
        )
        order = settings.taylor_order
        objective = cls(
            settings.distortion,
            order=0 if order == "exact" else order,
            form=settings.mec_form,
            embedding_norm=settings.embedding_norm,
            series=settings.mec_series,
            guard=settings.convergence_guard,
            seed=settings.seed,
            warmup_steps=steps,
        )
        objective.notes = notes
        return objective

    @property
    def needs(self):
        """From order 2 on, and exact, MEC keeps embeddings apart by itself."""
        return (("target", "predictor"),) if self.order == 1 else ()

    @property
    def schedules(self):
        """The distortion before the guard."""
        return {
            "distortion": functools.partial(
                warmed_up_distortion,
                distortion=self.distortion,
                warmup_steps=self.warmup_steps,
            )
        }

    def call(self, embeddings, *, step, replicas):
        """The loss and what to log, as `Objective.call` has it."""
        batch = normalised(
            pairing.pairs(embeddings),
            embedding_norm=self.embedding_norm,
            replicas=replicas,
        )
        distortion = tf.cast(self.schedules["distortion"](step), batch.m.dtype)
        effective, logs, norm = distortion, {}, None
        if self.order > 1:  # else there is no series, and no norm to watch
            seed = tf.cast(self.seed, tf.int64), tf.cast(step, tf.int64)
            norms = spectral_norms(
                batch,
                batch.lam(distortion),
                seed=tf.stack(seed),
                replicas=replicas,
            )
            # One distortion for all pairs of a step, so that their mean is the
            # objective at one lambda: the widest pair decides.
            norm = tf.reduce_max(norms)
            if self.guard:
                effective = guarded_distortion(norm, distortion)
            logs["spectral_norm"] = norm * distortion / effective
        lam = batch.lam(effective)
        traces = _traces(
            batch,
            lam,
            self.order,
            self.form,
            norm if self.series == "chebyshev" else None,
            replicas,
        )
        loss = tf.reduce_mean([-trace / (lam * batch.m) for trace in traces])
        # mec_loss = -coding_length / (mu lambda m), lambda m = 1 / eps_d^2.
        return loss, {
            "coding_length": -loss * _mu(batch) / effective,
            "effective_distortion": effective,
            **logs,
        }

    def describe(self, m, d):
        """The paper's symbols (section 3) and their values."""
        lam = 1 / (m * self.distortion)
        return [
            ("mu = (m + d) / 2", f"{(m + d) / 2:g}"),
            ("epsilon_d squared, distortion", f"{self.distortion:g}"),
            ("lambda = 1 / (m epsilon_d^2)", f"{lam:.6g}"),
            ("warm-up steps of lambda", f"{self.warmup_steps:,}"),
        ]


def warmed_up_distortion(
    step: int | tf.Tensor,
    *,
    distortion: float,
    warmup_steps: int,
    start: float = 8.0,
) -> tf.Tensor:
    """The distortion, falling from `start` times itself to itself.

    lambda is inverse to the distortion, so that 1 / lambda falls linearly from
    `start` / lambda to 1 / lambda. Early embeddings are nearly collapsed, and
    the Taylor series needs the smaller lambda there to converge.

    Args:
        step: integer or integer tensor >= 0. Step 0 has the start value and
            step `warmup_steps` - 1 the final one.
        distortion: epsilon_d^2 > 0 after the warm-up; 0.06 in the paper.
        warmup_steps: steps of warm-up, >= 0.
        start: factor at step 0, 8 in the authors' code.

    Returns:
        epsilon_d^2 at this step, a float32 scalar tensor.

    Source: the MEC authors' code; the paper warms lambda up too.
    """
    k = tf.cast(step, tf.float32)
    risen = tf.minimum(k / max(warmup_steps - 1, 1), 1.0)
    risen = tf.where(k < warmup_steps, risen, 1.0)
    return distortion * (1.0 + (start - 1.0) * (1.0 - risen))


def _check(order, form, series):
    if order != int(order) or order < 0:
        raise ValueError(
            f"order is {order!r}; expected the number of terms of the Taylor "
            "series, 1 or more, or 0 for the exact log-determinant."
        )
    if form not in sides.SIDES:
        raise ValueError(
            f"form is {form!r}; expected 'auto', 'batch' or 'feature'."
        )
    if series not in ("taylor", "chebyshev"):
        raise ValueError(
            f"series is {series!r}; expected 'taylor' or 'chebyshev'."
        )


def _of_pair(z1, z2, distortion, order, form, embedding_norm, series, replicas):
    """The `Batch` of two views alone, lambda, and Tr log(I + C)."""
    _check(order, form, series)
    batch = normalised(
        [(z1, z2)], embedding_norm=embedding_norm, replicas=replicas
    )
    lam = batch.lam(distortion)
    norm = _norm(batch, lam, order, series, replicas)
    (trace,) = _traces(batch, lam, order, form, norm, replicas)
    return batch, lam, trace


def _norm(batch, lam, order, series, replicas):
    """The norm of C where a series has to know it, else None."""
    if series == "taylor" or order < 2:
        return None
    (norm,) = spectral_norms(batch, lam, seed=(0, 0), replicas=replicas)
    return norm


def _traces(batch, lam, order, form, norm, replicas):
    """Tr log(I + C) of every pair, to `order` terms."""
    if order == 1:
        return sides.traces(batch, lam, replicas=replicas)
    if order == 0:
        expansion = log_det.exact
    elif norm is None:
        expansion = functools.partial(log_det.taylor, order=order)
    else:
        expansion = functools.partial(chebyshev, order=order, norm=norm)
    return sides.traces_of_log(
        batch,
        lam,
        expansion,
        side=form,
        replicas=replicas,
    )


def _mu(batch):
    d = tf.cast(tf.shape(batch.views[0].z)[1], batch.m.dtype)
    return (batch.m + d) / 2
