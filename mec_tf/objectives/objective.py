"""`Objective`, the interface of every loss: what it implements and declares.

An objective owns its settings, schedules, state and logged columns; nothing
outside this package names them. `docs/extending.md` shows one from first line
to last.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import keras
import tensorflow as tf

from mec_tf.errors import UserError
from mec_tf.objectives.replicas import Replicas

# What may be missing in a model, and the setting that brings it.
_SETTINGS = {"target": "ema_base", "predictor": "predictor_dim"}


class Embeddings(NamedTuple):
    """A replica's embeddings of one step, not normalised.

    Attributes:
        online: one `[n, d]` per view, of the network that learns; through the
            predictor, where there is one. The first two views are global.
        target: one `[n, d]` per global view, which no gradient passes: of the
            target network or, where a predictor takes its place, of the online
            network before it. None: the online embeddings meet one another.
        labels: of the images, `[n]` or `[n, classes]`, where a batch brings
            them.
    """

    online: list[tf.Tensor]
    target: list[tf.Tensor] | None
    labels: tf.Tensor | None = None


class Objective(keras.layers.Layer):
    """A loss of embeddings, with whatever state it keeps.

    A subclass writes `call`; `build` and `update` where it has state, and
    `from_settings` where it has settings.

    Its variables are state, not learnt. They are saved and restored with the
    run, float32 in every precision, and equal on all replicas.

    Attributes:
        logged: names of the scalars that `call` may return besides the loss:
            columns of `metrics.csv`.
        plotted: those of them worth a curve and a place in the progress bar,
            with the curve's title.
        needs: the parts that a model must have, `target` or `predictor`; of
            each tuple one is enough.
        needed_because: what happens without them, the end of a sentence.
        schedules: functions of the step, an integer, by name: columns too.
        notes: lines for the user where a setting was not taken at its word.
        remedy: what to change when the loss diverges, or nothing.
    """

    logged: ClassVar[tuple[str, ...]] = ()
    plotted: ClassVar[Mapping[str, str]] = {}
    needs: tuple[tuple[str, ...], ...] = ()
    needed_because: str = ""
    schedules: Mapping[str, Callable] = {}
    notes: tuple[str, ...] = ()
    remedy: str = ""

    def __init__(self):
        # Embeddings come as the networks computed them, perhaps in half
        # precision; state does not follow them there.
        super().__init__(dtype="float32", autocast=False, trainable=False)

    def __call__(self, embeddings, *, step, replicas):
        """Calls `call`; Keras' own way there is for tensors alone."""
        return self.call(embeddings, step=step, replicas=replicas)

    @classmethod
    def from_settings(cls, settings: Any, schedule: Any) -> "Objective":
        """The objective of a run.

        Args:
            settings: has one attribute per setting, by its name.
            schedule: `schedule.Schedule` of the run.
        """
        return cls()

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Creates the state, by `add_state`; called once.

        Args:
            input_shape: (None, d) of a view's embeddings.
        """

    def add_state(self, name, shape, initializer="zeros") -> keras.Variable:
        """Adds a float32 variable that `update` assigns, alike on replicas."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            trainable=False,
            aggregation="only_first_replica",
        )

    def call(
        self, embeddings: Embeddings, *, step: tf.Tensor, replicas: Replicas
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss of the global batch, and what to log.

        Args:
            embeddings: of this replica's images.
            step: integer scalar, the training step from 0.
            replicas: those that share the batch. See there how to reach what
                the others hold, and how gradients pass.

        Returns:
            (loss, logs): a floating scalar, equal on all replicas, and scalars
            by the names in `logged`, all or some of them.
        """
        raise NotImplementedError

    def update(
        self, embeddings: Embeddings, *, step: tf.Tensor, replicas: Replicas
    ) -> None:
        """Moves the state on, once a step, after optimizer and moving average.

        Args:
            embeddings: what `call` got, without gradients; with micro-batches,
                too, those of the whole batch.
            step: what `call` got.
            replicas: what `call` got.
        """

    def describe(self, m: int, d: int) -> list[tuple[str, str]]:
        """Lines (what, value) for the table of `dry_run`.

        Args:
            m: embeddings per view and step, over all replicas.
            d: their dimension.
        """
        return []


def check_needs(objective: Objective, *, target: bool, predictor: bool) -> None:
    """Refuses a model without the parts that its objective cannot do without.

    Args:
        objective: an `Objective`.
        target: whether the model has a target network.
        predictor: whether it has a predictor.

    Raises:
        UserError: If it needs more.
    """
    present = {"target": target, "predictor": predictor}
    for choice in objective.needs:
        if not any(present[part] for part in choice):
            settings = " ".join(f"`{_SETTINGS[part]}`=0" for part in choice)
            ways = " or ".join(f"`{_SETTINGS[part]}`" for part in choice)
            raise UserError(
                f"{settings}, but {type(objective).__name__} needs a"
                f" {' or a '.join(choice)}: without, {objective.needed_because}"
                f"; give {ways}"
            )
