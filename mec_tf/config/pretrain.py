"""Settings of pretraining."""

import dataclasses
from typing import Self

from mec_tf import choices
from mec_tf.config.config import Config
from mec_tf.config.data import Data
from mec_tf.config.device import Device
from mec_tf.config.networks import Networks
from mec_tf.config.objective import Objective
from mec_tf.config.optimisation import Optimisation
from mec_tf.config.setting import setting, varied
from mec_tf.config.views import Views
from mec_tf.config.workdir import Workdir
from mec_tf.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running(Config):
    """Monitoring and export."""

    jit: str = setting(
        "auto",
        "Whether XLA compiles the step. auto: on a single GPU; CPUs are slower"
        " with it. on: one device only (over several XLA fails on CPUs and is"
        " untried on GPUs), not with `deterministic`.",
        choices=choices.JIT,
        may_differ=True,
    )
    export_dir: str | None = setting(
        None,
        "Folder of the exported encoder. Default: exports/<flagfile's name>.",
        path=True,
        may_differ=True,
    )
    knn_every_epochs: int | None = setting(
        1,
        "Epochs between looks at the representation: RankMe, and kNN accuracy"
        " where there are labels; never or 0: never.",
        least=1,
        zero="never",
        may_differ=True,
    )
    checkpoint_each_epoch: bool = setting(
        True, "Also save at the end of each epoch.", may_differ=True
    )
    keep_checkpoints: int = setting(
        2, "Newest checkpoints that stay.", least=1, may_differ=True
    )
    dry_run: bool = setting(
        False,
        "Print what the flags amount to, take one step on at most 4 images per"
        " device, or one per micro-batch, leave nothing behind.",
        start_only=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretraining(
    Data, Views, Networks, Objective, Optimisation, Workdir, Running, Device
):
    """Pretraining: every setting that a flagfile for it may hold."""

    image_size: int = varied(Data, "image_size", default=224)

    def _check(self) -> None:
        if (
            self.ema_base is None
            and self.predictor_dim is None
            and self.taylor_order == 1
        ):
            raise UserError(
                "`ema_base`=none `predictor_dim`=none `taylor_order`=1 is minus"
                " the mean cosine of one network with itself, which all images"
                " reach by one and the same embedding; give an order of 2 or"
                " more, exact, a predictor or a target network"
            )
        if self.jit == "on" and self.deterministic:
            raise UserError(
                "`jit`=on and `deterministic` do not go together; give one of"
                " them"
            )

    def source_options(self) -> dict[str, object]:
        """Keyword arguments of `data.sources.load`."""
        return {**super().source_options(), "seed": self.seed}

    def policy_options(self) -> dict[str, object]:
        """Keyword arguments of `augment.policy.preset`."""
        return {**super().policy_options(), "image_size": self.image_size}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig(Pretraining):
    """Pretraining: settings of `mec_tf.train`.

    Example:
        >>> PretrainConfig(dataset="digits", image_size=16).backbone
        'resnet50'
    """

    def with_default_paths(self, name: str | None) -> Self:
        """Names workdir and export after `name`, or else after the dataset."""
        name = name or self.dataset.replace("/", "_")
        return self.replace(
            workdir=self.workdir or f"runs/{name}",
            export_dir=self.export_dir or f"exports/{name}",
        )
