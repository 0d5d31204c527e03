"""Settings of batch size, epochs, optimizer and learning rate."""

import dataclasses

from mec_tf import choices
from mec_tf.config.config import Config
from mec_tf.config.setting import setting
from mec_tf.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimisation(Config):
    """Optimisation."""

    optimizer: str = setting(
        "sgd", "SGD or LARS, with momentum.", choices=choices.OPTIMIZERS
    )
    batch_size: int = setting(
        1024, "Images per step, over all devices.", least=2
    )
    micro_batch_size: int | None = setting(
        None,
        "Images that are in memory at a time, over all devices, a divisor of"
        " `batch_size`; none or 0: all. The gradient is exactly that of the"
        " whole batch, at the price of one more forward pass; batch norm sees"
        " one micro-batch at a time.",
        least=1,
        zero="none",
    )
    steps_per_execution: int = setting(
        1,
        "Steps per call into TensorFlow, which saves time where steps are"
        " short. Checkpoints, SIGTERM and the progress bar wait for that many"
        " steps. Where it does not divide an epoch the next smaller number"
        " that does is taken.",
        least=1,
    )
    base_lr: float = setting(
        0.5,
        "Peak learning rate per 256 images: lr = base_lr * batch_size / 256.",
        above=0,
    )
    weight_decay: float = setting(1e-5, "Coupled (L2) weight decay.", least=0)
    momentum: float = setting(0.9, "In [0, 1).", least=0, below=1)
    epochs: int = setting(100, "Passes over the training images.", least=1)
    steps: int | None = setting(
        None,
        "Training steps; none or 0: as `epochs` say.",
        least=1,
        zero="none",
    )
    warmup_epochs: float = setting(
        10.0,
        "Epochs over which the learning rate rises linearly; it then falls to"
        " 0 by a cosine.",
        least=0,
    )

    def _check(self) -> None:
        part = self.micro_batch_size
        if part is not None and self.batch_size % part:
            raise UserError(
                f"`micro_batch_size`={part} does not divide"
                f" `batch_size`={self.batch_size}; give a divisor"
            )
