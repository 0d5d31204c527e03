"""The arithmetic of a run: what its flags amount to in steps and rates."""

import dataclasses
import math
from typing import NamedTuple

from mec_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run in numbers; the symbols are the paper's (section 3).

    Attributes:
        images: Images that pretraining sees.
        steps_per_epoch: Whole batches in them.
        total_steps: Steps of the run.
        warmup_steps: Steps over which the learning rate rises.
        peak_lr: Learning rate after scaling with the batch.
        m: Embeddings per view of a step, over all devices.
        d: Dimension of an embedding.
        steps_per_execution: Steps per call into TensorFlow.
        notes: Lines that say where a flag could not be taken at its word.
    """

    images: int
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    peak_lr: float
    m: int
    d: int
    steps_per_execution: int = 1
    notes: tuple[str, ...] = ()

    @property
    def epochs(self):
        """Epochs that the run enters, the last one perhaps unfinished."""
        return -(-self.total_steps // self.steps_per_epoch)

    def warmup(self, name, epochs):
        """Steps of a warm-up of so many epochs.

        Args:
            name: Of the setting that asks for it.
            epochs: Length asked for, a float; a run that is shorter gives it a
                tenth of its steps.

        Returns:
            (steps, notes): an int, and a tuple of lines that say so if it was
            shortened.
        """
        return _warmup(name, epochs, self.steps_per_epoch, self.total_steps)


def make_plan(
    *,
    images,
    batch_size,
    epochs,
    steps,
    base_lr,
    warmup_epochs,
    embedding_dim,
    steps_per_execution=1,
):
    """Works a run out; arguments are the flags of these names.

    Raises:
        UserError: If there are fewer images than one batch holds.
    """
    steps_per_epoch = images // batch_size
    if steps_per_epoch == 0:
        raise UserError(
            f"`batch_size`={batch_size} is larger than the training set of"
            f" {images} images; give a batch of at most {images}"
        )
    total_steps = steps or epochs * steps_per_epoch
    warmup_steps, notes = _warmup(
        "warmup_epochs", warmup_epochs, steps_per_epoch, total_steps
    )
    notes = list(notes)

    def execution():
        """In steps; a divisor of every epoch, also of a short last one."""
        common = math.gcd(steps_per_epoch, total_steps)
        divisor = max(
            n
            for n in range(1, min(steps_per_execution, common) + 1)
            if common % n == 0
        )
        if divisor < steps_per_execution:
            notes.append(
                f"`steps_per_execution`={steps_per_execution} does not divide"
                f" {steps_per_epoch} steps per epoch and {total_steps} in all:"
                f" {divisor} taken"
            )
        return divisor

    return Plan(
        images=images,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        warmup_steps=warmup_steps,
        peak_lr=base_lr * batch_size / 256,
        m=batch_size,
        d=embedding_dim,
        steps_per_execution=execution(),
        notes=tuple(notes),
    )


def _warmup(name, epochs, steps_per_epoch, total_steps):
    asked = round(epochs * steps_per_epoch)
    if asked < total_steps or asked == 0:
        return asked, ()
    short = total_steps // 10
    return short, (
        f"`{name}`={epochs:g} ({asked} steps) does not fit into a run of"
        f" {total_steps} steps: shortened to {short} steps",
    )


def table(plan, objective=()):
    """The plan as (what, value) lines.

    Args:
        plan: `Plan`.
        objective: Lines of the objective, `Objective.describe(plan.m, plan.d)`.
    """
    return [
        ("training images", f"{plan.images:,}"),
        ("m, batch size over all devices", f"{plan.m:,}"),
        ("d, embedding dimension", f"{plan.d:,}"),
        *objective,
        ("steps per epoch", f"{plan.steps_per_epoch:,}"),
        ("total steps", f"{plan.total_steps:,} ({plan.epochs:,} epochs)"),
        ("warm-up steps of the rate", f"{plan.warmup_steps:,}"),
        ("peak learning rate", f"{plan.peak_lr:g}"),
    ]


class Passes(NamedTuple):
    """A supervised run in numbers: so many passes over labelled images.

    Attributes:
        asked: Images per step that were asked for.
        m: Images per step, over all devices.
        steps_per_epoch: Whole batches in the images.
        total_steps: Steps of the run.
    """

    asked: int
    m: int
    steps_per_epoch: int
    total_steps: int

    @property
    def epochs(self):
        """Passes over the images, the last one perhaps unfinished."""
        return -(-self.total_steps // self.steps_per_epoch)

    def peak_lr(self, base_lr):
        """Learning rate after scaling with the batch that there really is."""
        return base_lr * self.m / 256

    def told(self, base_lrs):
        """The run in one line, for people; base rates are floats."""
        cut = f" (cut from {self.asked:,})" if self.m < self.asked else ""
        peaks = ", ".join(f"{self.peak_lr(one):.3g}" for one in base_lrs)
        several = "s" if len(base_lrs) > 1 else ""
        return (
            f"{self.m:,} images per step{cut}, {self.total_steps:,} steps,"
            f" peak rate{several} {peaks}"
        )


def make_passes(images, *, batch_size, epochs, steps=0, replicas=1):
    """Works a supervised run out; a batch larger than the set is cut to it.

    Args:
        images: Labelled images there are.
        batch_size: Images per step that were asked for.
        epochs: Passes over the images.
        steps: Steps of the run; 0: as the epochs say.
        replicas: What the batch must be a multiple of.

    Raises:
        UserError: If a batch cannot be shared by the replicas.
    """
    m = min(batch_size, images)
    m -= m % replicas
    if m == 0:
        raise UserError(
            f"{images} images and `batch_size`={batch_size} give {replicas}"
            " replicas none each; use fewer replicas"
        )
    steps_per_epoch = images // m
    return Passes(
        batch_size, m, steps_per_epoch, steps or epochs * steps_per_epoch
    )


class Segment(NamedTuple):
    """Steps that one call of `Model.fit` takes: epochs of one length."""

    first_step: int
    initial_epoch: int
    epochs: int
    steps_per_epoch: int


def segments(plan, first_step):
    """Cuts the steps from `first_step` on into calls of `Model.fit`.

    An uninterrupted run of whole epochs is one call; a run resumed inside an
    epoch first finishes that epoch, and one whose `steps` end inside an epoch
    ends with a short one.

    Yields:
        `Segment`s, in order.
    """
    size = plan.steps_per_epoch
    step = first_step
    while step < plan.total_steps:
        epoch, done = divmod(step, size)
        whole = (plan.total_steps - step) // size
        if done or not whole:
            whole, length = 1, min(size - done, plan.total_steps - step)
        else:
            length = size
        yield Segment(step, epoch, epoch + whole, length)
        step += whole * length
