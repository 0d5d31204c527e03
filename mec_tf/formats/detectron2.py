"""Residual networks as Detectron2's backbones, for detection.

Detectron2 calls the stages res2 to res5 and puts each batch norm inside its
convolution. Its own ImageNet weights take BGR images and stride in the first
1x1 convolution; ours, like torchvision's, take RGB and stride in the 3x3: the
configuration has to say so.
"""

import json
import pathlib
import pickle
import re

import numpy as np

from mec_tf.errors import UserError
from mec_tf.files.atomic import replaced_file
from mec_tf.formats import torchvision
from mec_tf.models.resnet import ARCHITECTURES

CONFIG_FILE = "detectron2.yaml"


def to_state_dict(backbone):
    """The weights under Detectron2's names, in PyTorch's layout.

    Args:
        backbone: "resnet18" to "resnet152" or "resnet50w2" of
            `mec_tf.models.build_backbone`.

    Returns:
        A dict from names such as "stem.conv1.norm.weight" and
        "res2.0.shortcut.weight" to float32 arrays.

    Raises:
        UserError: If Detectron2 has no such network.
    """
    _architecture(backbone)
    return {
        _detectron2_name(name): array
        for name, array in torchvision.to_state_dict(backbone).items()
        # PyTorch's counter, which no normalisation of Detectron2 reads.
        if not name.endswith("num_batches_tracked")
    }


def write_pickle(path, backbone):
    """Writes the `.pkl` file that Detectron2's checkpointer reads.

    The file appears whole or not at all.

    Args:
        path: The file to write, which must end in ".pkl"; replaced if it
            exists.
        backbone: As for `to_state_dict`.

    Raises:
        UserError: If Detectron2 has no such network, or would not take a file
            of this name for a pickle.
    """
    path = pathlib.Path(path)
    if path.suffix != ".pkl":
        raise UserError(
            f"Received {path.name!r}; expected a name that ends in '.pkl', by "
            "which Detectron2 knows the format. Rename the file."
        )
    content = {
        "model": to_state_dict(backbone),
        "__author__": "mec_tf",
        # Names lack the prefix of the detector, which Detectron2 then finds.
        "matching_heuristics": True,
    }
    with replaced_file(path) as partial, open(partial, "wb") as file:
        _Pickler(file, protocol=4).dump(content)


def config_text(backbone, *, weights, mean, std):
    """The part of a Detectron2 configuration that the weights need.

    Args:
        backbone: As for `to_state_dict`.
        weights: Path of the `.pkl` file.
        mean: Three floats in [0, 1], the mean of R, G and B that the encoder
            was trained with.
        std: Three floats > 0, their standard deviation in the same units.

    Returns:
        A YAML document, to be merged into the configuration of a detector.

    Raises:
        UserError: If Detectron2 has no such network.
    """
    architecture = _architecture(backbone)
    blocks, width = sum(architecture.depths), architecture.width
    depth = 2 + blocks * (3 if architecture.bottleneck else 2)
    out_channels = width * (4 if architecture.bottleneck else 1)
    return f"""\
MODEL:
  WEIGHTS: {json.dumps(str(weights), ensure_ascii=False)}
  BACKBONE:
    # The default, 2, freezes stem and res2, statistics of batch norm included.
    FREEZE_AT: 0
  # Of RGB in [0, 255]; Detectron2's default is BGR.
  PIXEL_MEAN: {[round(255 * channel, 3) for channel in mean]}
  PIXEL_STD: {[round(255 * channel, 3) for channel in std]}
  RESNETS:
    DEPTH: {depth}
    STEM_OUT_CHANNELS: {width}
    RES2_OUT_CHANNELS: {out_channels}
    WIDTH_PER_GROUP: {width}
    STRIDE_IN_1X1: False
    # The weights were never tuned with frozen statistics.
    NORM: "SyncBN"
# For C4 detectors also, so that they are scored by recomputed statistics:
# TEST:
#   PRECISE_BN:
#     ENABLED: True
INPUT:
  FORMAT: "RGB"
"""


def _architecture(backbone):
    architecture = ARCHITECTURES.get(backbone.name)
    if architecture is None or architecture.cifar_stem:
        known = [n for n, a in ARCHITECTURES.items() if not a.cifar_stem]
        raise UserError(
            f"Received backbone {backbone.name!r}; expected one that "
            f"Detectron2 has: {', '.join(known)}. Use the torchvision format "
            "for the others."
        )
    return architecture


def _detectron2_name(name):
    name = re.sub(r"^layer(\d)", lambda m: f"res{int(m[1]) + 1}", name)
    name = re.sub(r"\bbn(\d)", r"conv\1.norm", name)
    name = name.replace("downsample.0", "shortcut")
    name = name.replace("downsample.1", "shortcut.norm")
    return name if name.startswith("res") else f"stem.{name}"


class _Pickler(pickle.Pickler):
    """Pickles arrays so that any version of NumPy reads them.

    NumPy 2 names its private modules in pickles, which releases before 1.26,
    common beside Detectron2, do not have.
    """

    def reducer_override(self, obj):
        if isinstance(obj, np.ndarray):
            # From a bytearray, so that what is read can be written to.
            data = bytearray(np.ascontiguousarray(obj).tobytes())
            return np.ndarray, (obj.shape, obj.dtype.str, data)
        return NotImplemented
