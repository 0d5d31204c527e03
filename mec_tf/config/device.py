"""Settings of devices, determinism and the seed."""

import dataclasses

from mec_tf import choices
from mec_tf.config.config import Config
from mec_tf.config.setting import setting
from mec_tf.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device(Config):
    """Devices and seed."""

    strategy: str = setting(
        "auto",
        "auto: all GPUs of the machine, or its one device; one_device; mirrored"
        " (GPUs, or `logical_cpus`); multi_worker (the machines of TF_CONFIG"
        " or of a Slurm job: docs/scaling.md).",
        choices=choices.STRATEGIES,
        may_differ=True,
    )
    logical_cpus: int = setting(
        1,
        "Parts that the CPU is split into, to try mirrored without GPUs.",
        least=1,
        may_differ=True,
    )
    deterministic: bool | None = setting(
        None,
        "Same flags, same weights, bit for bit. Default: on where there is no"
        " GPU and XLA is not asked for.",
        may_differ=True,
    )
    seed: int = setting(0, "Seeds every random decision.", least=0)

    def _check(self) -> None:
        if self.logical_cpus > 1 and self.strategy == "multi_worker":
            raise UserError(
                f"`logical_cpus`={self.logical_cpus} is for mirrored; with"
                " `strategy`=multi_worker start more workers instead"
            )
