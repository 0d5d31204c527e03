"""Settings of exports."""

import dataclasses
from pathlib import PurePath
from typing import Self

from mec_tf import choices
from mec_tf.config.config import Config
from mec_tf.config.networks import check_backbone
from mec_tf.config.setting import setting
from mec_tf.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input(Config):
    """Input."""

    workdir: str | None = setting(
        None, "Folder of the run to export from.", path=True
    )
    step: int | None = setting(
        None, "Step of the run's checkpoint. Default: the newest.", least=0
    )
    network: str = setting(
        "online",
        "online: the network that learns by gradient. target: its moving"
        " average.",
        choices=choices.NETWORKS,
    )
    encoder: str | None = setting(
        None,
        "Instead of a run: an export's folder, or random:BACKBONE (untrained).",
        path=True,
    )
    from_torch: str | None = setting(
        None,
        "Instead of a run: file of torchvision's weights or of the MEC authors'"
        " checkpoint, for `backbone`.",
        path=True,
    )
    backbone: str | None = setting(
        None, "What the weights of `from_torch` were made for."
    )

    def _check(self) -> None:
        given = [
            name
            for name in ("workdir", "encoder", "from_torch")
            if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise UserError(
                f"received {len(given)} of `workdir`=RUN, `encoder`=EXPORT and"
                " `from_torch`=FILE; give one of them"
            )
        if self.step is not None and not self.workdir:
            raise UserError("`step` is of a run: give `workdir`=RUN, too")
        if self.encoder and self.network == "target":
            raise UserError("`network`=target needs a run: `workdir`=RUN")
        if self.from_torch and not self.backbone:
            raise UserError(
                f"`from_torch`={self.from_torch} does not say what network its"
                " weights are of; give `backbone`, such as `backbone`=resnet50"
            )
        if self.backbone:
            if not self.from_torch:
                raise UserError("`backbone` is for `from_torch`; leave it out")
            check_backbone(self.backbone)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(Input):
    """Export: settings of `mec_tf.export`."""

    format: str = setting(
        "saved_model",
        "saved_model: TensorFlow, serving. keras: encoder.keras. onnx: other"
        " runtimes. torchvision: PyTorch, UniTrack. detectron2: detectors.",
        choices=choices.FORMATS,
    )
    export_dir: str | None = setting(
        None,
        "Folder to write. Default: exports/NAME, after the run, export,"
        " backbone or file; exports/NAME_FORMAT for other formats than"
        " saved_model.",
        path=True,
    )
    image_size: int | None = setting(
        None,
        "Side that serve_bytes resizes images to, pixels. Default: what the"
        " encoder was trained at, else 224.",
        least=1,
    )
    include_projector: bool = setting(
        False,
        "Also hand on the projector: the output (SavedModel: the signature)"
        ' "embedding".',
    )
    intermediate: bool = setting(
        False,
        "Also hand on the stages' feature maps: the outputs (SavedModel: of the"
        ' signature "intermediate") "res2" to "res5".',
    )
    overwrite: bool = setting(
        False,
        "Replace the export that stands in `export_dir`.",
        start_only=True,
    )

    def with_default_paths(self, name: str | None) -> Self:
        """Names the folder after what is exported, not after a flagfile."""
        if self.export_dir:
            return self
        source = self.workdir or self.encoder or self.from_torch or ""
        name = PurePath(source.removeprefix("random:")).name
        if self.from_torch:
            name = name.split(".")[0]
        name = name.replace(":", "_")
        if self.format != "saved_model":
            name = f"{name}_{self.format}"
        return self.replace(export_dir=f"exports/{name}")

    def _check(self) -> None:
        wanted = [
            f"`{name}`"
            for name in ("include_projector", "intermediate")
            if getattr(self, name)
        ]
        if wanted and self.format in choices.FORMATS_OF_WEIGHTS:
            raise UserError(
                f"`format`={self.format} is a file of the backbone's weights;"
                f" leave out {' and '.join(wanted)}"
            )
