"""The schedule of a run: steps, epochs and learning rates of its settings."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mec_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Batch size, steps and epochs of a run, of an encoder or of classifiers.

    Attributes:
        images: Images that it learns from.
        requested_batch_size: Images per step that were asked for.
        batch_size: Images per step, over all devices; m in the paper.
        steps_per_epoch: Whole batches in the images.
        total_steps: Steps of the run.
        steps_per_execution: Steps per call into TensorFlow.
        notes: Lines that say where a setting could not be taken at its word.
    """

    images: int
    requested_batch_size: int
    batch_size: int
    steps_per_epoch: int
    total_steps: int
    steps_per_execution: int = 1
    notes: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        """Epochs that the run enters, the last one perhaps unfinished."""
        return -(-self.total_steps // self.steps_per_epoch)

    def peak_lr(self, base_lr: float) -> float:
        """Learning rate after scaling with the batch that there really is."""
        return base_lr * self.batch_size / 256

    def warmup(self, name: str, epochs: float) -> tuple[int, tuple[str, ...]]:
        """Steps of a warm-up of so many epochs.

        Args:
            name: Of the setting that asks for it.
            epochs: Length asked for; a run that is shorter gives it a tenth of
                its steps.

        Returns:
            (steps, notes): lines that say so if it was shortened.
        """
        asked = round(epochs * self.steps_per_epoch)
        if asked < self.total_steps or asked == 0:
            return asked, ()
        short = self.total_steps // 10
        return short, (
            f"`{name}`={epochs:g} ({asked} steps) does not fit into a run of"
            f" {self.total_steps} steps: shortened to {short} steps",
        )

    def summary(self, base_lrs: Sequence[float]) -> str:
        """The run in one line, for people; base rates are floats."""
        cut = (
            f" (cut from {self.requested_batch_size:,})"
            if self.batch_size < self.requested_batch_size
            else ""
        )
        peaks = ", ".join(f"{self.peak_lr(one):.3g}" for one in base_lrs)
        several = "s" if len(base_lrs) > 1 else ""
        return (
            f"{self.batch_size:,} images per step{cut},"
            f" {self.total_steps:,} steps, peak rate{several} {peaks}"
        )


def make_schedule(
    images: int,
    *,
    batch_size: int,
    epochs: int,
    steps: int | None = None,
    steps_per_execution: int = 1,
    replicas: int = 1,
    cut: bool = False,
) -> Schedule:
    """Makes the schedule of a run.

    Args:
        images: Images there are.
        batch_size: Images per step, over all devices.
        epochs: Epochs to train for.
        steps: Steps of the run; None or 0: as the epochs say.
        steps_per_execution: Steps per call into TensorFlow. Where it does not
            divide every epoch, a shorter last one, too, the next smaller number
            that does is taken.
        replicas: What a batch must be a multiple of, where it is cut.
        cut: Whether a batch larger than the set is cut to it.

    Raises:
        UserError: If there are fewer images than one batch holds, or, where it
            is cut, than there are replicas.
    """
    m = batch_size
    if cut:
        m = min(batch_size, images)
        m -= m % replicas
    if m == 0:
        raise UserError(
            f"{images} images and `batch_size`={batch_size} give {replicas}"
            " replicas none each; use fewer replicas"
        )
    steps_per_epoch = images // m
    if steps_per_epoch == 0:
        raise UserError(
            f"`batch_size`={batch_size} is larger than the training set of"
            f" {images} images; give a batch of at most {images}"
        )
    total_steps = steps or epochs * steps_per_epoch
    common = math.gcd(steps_per_epoch, total_steps)
    per_call = max(
        n
        for n in range(1, min(steps_per_execution, common) + 1)
        if common % n == 0
    )
    notes: tuple[str, ...] = ()
    if per_call < steps_per_execution:
        notes = (
            f"`steps_per_execution`={steps_per_execution} does not divide"
            f" {steps_per_epoch} steps per epoch and {total_steps} in all:"
            f" {per_call} taken",
        )
    return Schedule(
        images, batch_size, m, steps_per_epoch, total_steps, per_call, notes
    )


class Segment(NamedTuple):
    """Steps that one call of `Model.fit` takes: epochs of one length."""

    first_step: int
    initial_epoch: int
    epochs: int
    steps_per_epoch: int


def segments(schedule: Schedule, first_step: int) -> Iterator[Segment]:
    """Cuts the steps from `first_step` on into calls of `Model.fit`.

    An uninterrupted run of whole epochs is one call; a run resumed inside an
    epoch first finishes that epoch, and one whose steps end inside an epoch
    ends with a short one.

    Yields:
        `Segment`s, in order.
    """
    size = schedule.steps_per_epoch
    step = first_step
    while step < schedule.total_steps:
        epoch, done = divmod(step, size)
        whole = (schedule.total_steps - step) // size
        if done or not whole:
            whole, length = 1, min(size - done, schedule.total_steps - step)
        else:
            length = size
        yield Segment(step, epoch, epoch + whole, length)
        step += whole * length
