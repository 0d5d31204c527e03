"""Settings of the backbone and the heads."""

import dataclasses

from mec_tf import choices
from mec_tf.config.config import Config
from mec_tf.config.setting import setting
from mec_tf.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Networks(Config):
    """Networks."""

    backbone: str = setting(
        "resnet50",
        f"One of {', '.join(choices.BACKBONES)}, {choices.KERAS}NAME.",
    )
    projector_dim: int = setting(
        2048, "Dimension d of the embeddings.", least=1
    )
    projector_layers: int = setting(3, "Layers of the projector.", least=1)
    predictor_dim: int | None = setting(
        512,
        "Hidden dimension of the online network's predictor; none or 0: no"
        " predictor.",
        least=1,
        zero="none",
    )
    ema_base: float | None = setting(
        0.996,
        "Momentum of the target network at step 0, in (0, 1]; rises to 1 by a"
        " cosine. none or 0: the target is the online network.",
        above=0,
        most=1,
        zero="none",
    )
    precision: str = setting(
        "float32",
        "What the networks compute in; mixed: weights, batch norm's statistics"
        " and the objective stay float32. mixed_float16 scales the loss and"
        " skips the steps whose gradients overflow; a forward pass that does"
        " ends the run. The exported encoder is float32.",
        choices=choices.PRECISIONS,
    )

    def _check(self) -> None:
        check_backbone(self.backbone)


def check_backbone(name: str) -> None:
    """Refuses an unknown backbone.

    Whether Keras has the network after `keras:` shows when it is built.

    Raises:
        UserError: If the name is none of `choices.BACKBONES`.
    """
    if name not in choices.BACKBONES and not name.startswith(choices.KERAS):
        raise UserError(
            f"`backbone`={name!r} is not known; choose one of"
            f" {', '.join(choices.BACKBONES)} or {choices.KERAS}NAME, such as"
            f" {choices.KERAS}EfficientNetV2B0"
        )
