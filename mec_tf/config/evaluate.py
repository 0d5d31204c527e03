"""Settings of evaluations."""

import dataclasses
from typing import Self

from mec_tf import choices
from mec_tf.config.classifiers import Classifiers, Neighbours
from mec_tf.config.config import Config
from mec_tf.config.data import Data
from mec_tf.config.device import Device
from mec_tf.config.scoring import Crops, Labels
from mec_tf.config.setting import setting, varied
from mec_tf.config.workdir import Workdir
from mec_tf.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol(Config):
    """Protocol."""

    encoder: tuple[str, ...] = setting(
        (),
        "What to score; repeated, or several comma-separated: folders of"
        " exports, .keras files, workdirs, random:BACKBONE (untrained), pixels"
        " (the image itself).",
        required=True,
        repeated=True,
        path=True,
    )
    protocol: str = setting(
        "knn",
        "knn: weighted k-nearest-neighbours. linear: a linear head on frozen"
        " features. logistic: L-BFGS on frozen features. finetune: all weights"
        " learn. transfer: the sets of `suite`. features: write them to"
        " `output`.",
        choices=choices.PROTOCOLS,
    )
    suite: str = setting(
        "paper", "Sets to transfer to.", choices=choices.SUITES
    )
    sets: tuple[str, ...] | None = setting(
        None, "Some of the suite's sets, by name. Default: all."
    )
    transfer_by: str = setting(
        "linear",
        "Protocol that `protocol`=transfer applies to each set.",
        choices=choices.CLASSIFIER_PROTOCOLS,
    )
    output: str | None = setting(
        None,
        "JSON file for the scores. Default: scores.json in the workdir, where"
        " there is one, else runs/NAME_scores.json after the flagfile or the"
        " protocol; the former one is replaced. features: the .npy, .npz or"
        " .parquet file, with a JSON beside it.",
        path=True,
        may_differ=True,
    )
    feature_cache: str | None = setting(
        None,
        "Folder that keeps features for the next time, under a checksum of"
        " encoder and images; and out of memory, however many there are.",
        path=True,
    )
    metric: str | None = setting(
        None,
        "What the score is, and what chooses rates and penalties. Default:"
        " top1; map11 (VOC2007's) where images are of several classes.",
        choices=choices.METRICS,
    )

    @property
    def fitted_by(self) -> str:
        """The protocol that scores a set: of a transfer, each set's."""
        if self.protocol == "transfer":
            return self.transfer_by
        return self.protocol

    def _check(self) -> None:
        if self.protocol != "features":
            return
        if len(self.encoder) > 1:
            raise UserError(
                f"`protocol`=features takes one `encoder`, not"
                f" {len(self.encoder)}; leave the others out"
            )
        if not self.output:
            raise UserError(
                "`protocol`=features needs an `output` that ends in one of"
                f" {', '.join(choices.FEATURE_SUFFIXES)}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(
    Protocol, Data, Labels, Crops, Neighbours, Classifiers, Workdir, Device
):
    """Scores: settings of `mec_tf.evaluate`."""

    strategy: str = varied(
        Device,
        "strategy",
        choices=choices.STRATEGIES_OF_ONE_MACHINE,
        help=Device.__dataclass_fields__["strategy"].metadata["options"].help
        + " linear and finetune train on these devices; features are extracted"
        " and images scored on one.",
    )

    def source_options(self) -> dict[str, object]:
        """Keyword arguments of `data.sources.load`."""
        return {**super().source_options(), "seed": self.seed}

    def with_default_paths(self, name: str | None) -> Self:
        """Names the workdir after a flagfile, if there is one."""
        if name is None or self.workdir:
            return self
        return self.replace(workdir=f"runs/{name}")

    def _check(self) -> None:
        by = self.fitted_by
        if by == "logistic" and self.validation_fraction == 0:
            raise UserError(
                "`validation_fraction`=0: logistic chooses its penalty on a"
                " validation part; give a share above 0, such as 0.2"
            )
        if by == "finetune" and self.head_lr and len(self.head_lr) > 1:
            rates = ",".join(f"{rate:g}" for rate in self.head_lr)
            raise UserError(
                f"`head_lr`={rates}: fine-tuning has one head; give one rate"
            )
