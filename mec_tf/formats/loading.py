"""Loads an encoder to be exported.

It comes from a checkpoint of a run, from an export, from PyTorch's weights, or
is untrained. None of these needs the training data.
"""

from pathlib import Path
from typing import NamedTuple

import keras

from mec_tf.augment import policy
from mec_tf.errors import UserError
from mec_tf.files.atomic import unreplaced
from mec_tf.formats import keras_file, mec_checkpoint, torchvision
from mec_tf.formats.keras_file import KERAS_FILE
from mec_tf.formats.metadata import METADATA_FILE, read_metadata
from mec_tf.formats.torch_file import read_torch_file
from mec_tf.models import build_backbone, ema, heads
from mec_tf.models.encoder import build_encoder
from mec_tf.training import checkpoint, run_record, workdir

RANDOM = "random:"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NETWORKS = ("online", "target")


class LoadedEncoder(NamedTuple):
    """An encoder, ready to be written in any format.

    Attributes:
        encoder: `keras.Model`, float32 RGB `[n, h, w, 3]` in [0, 1] to features
            `[n, d]`.
        projector: `keras.Model`, features to embeddings `[n, k]`, or None where
            there is none.
        metadata: What `metadata.write_metadata` takes beside the encoder.
    """

    encoder: keras.Model
    projector: keras.Model | None
    metadata: dict


def from_run(
    folder: Path,
    *,
    step: int | None = None,
    network: str = "online",
    setting: str = "workdir",
) -> LoadedEncoder:
    """Loads a network from a checkpoint of a run.

    Args:
        folder: `pathlib.Path` of the run.
        step: Step of the checkpoint; None: the newest intact one.
        network: "online", which learned by gradient, or "target", its moving
            average.
        setting: The field that named the run, for a message.

    Raises:
        UserError: If there is no such run, checkpoint or network.
    """
    flags = workdir.pretraining_flags(folder, setting)
    record = run_record.read(folder)
    if network == "target" and float(flags["ema_base"]) == 0:
        raise UserError(
            f"the run in {folder} has no target network (`ema_base`=0); give"
            " `network`=online"
        )
    backbone = build_backbone(flags["backbone"])
    projector = heads.build_projector(
        backbone.output_shape[-1],
        dim=int(flags["projector_dim"]),
        layers=int(flags["projector_layers"]),
    )
    online = keras.Model(backbone.input, projector(backbone.output))
    # As `SiameseModel` names its networks.
    kept = online if network == "online" else ema.copy_as_target(online)
    step = checkpoint.restore_part(
        folder / "checkpoints", step, model={network: kept}
    )
    # A no-op where it is the online network that was restored.
    online.set_weights(kept.get_weights())
    image_size = int(flags["image_size"])
    views = policy.preset(flags["views"], image_size=image_size)
    metadata = {
        "backbone": flags["backbone"],
        "image_size": image_size,
        "mean": views.mean,
        "std": views.std,
        "objective": flags["objective"],
        "dataset": flags["dataset"],
        "steps": step,
        "scores": {},
        "run": {"id": record and record.id, "workdir": str(folder)},
    }
    encoder = build_encoder(backbone, mean=views.mean, std=views.std)
    return LoadedEncoder(encoder, projector, metadata)


def from_export(folder: Path) -> LoadedEncoder:
    """Loads an export, to convert it.

    Args:
        folder: `pathlib.Path` of an export that holds `encoder.keras`.

    Raises:
        UserError: If it holds none, or metadata that is no export's.
    """
    try:
        stored, encoder = unreplaced(
            folder,
            lambda: (
                read_metadata(folder),
                keras.models.load_model(folder / KERAS_FILE),
            ),
        )
        names = _untrained_metadata("").keys() - {"run"}
        metadata = {name: stored[name] for name in names}
        metadata["run"] = stored.get("run")  # older exports lack it
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"`encoder`={folder} cannot be opened: it needs {KERAS_FILE} and"
            f" {METADATA_FILE}; give the folder of a SavedModel or Keras"
            " export, or random:BACKBONE"
        ) from error
    if isinstance(encoder.output, dict):
        raise UserError(
            f"`encoder`={folder} returns more than features"
            f" ({', '.join(encoder.output)}); convert the run or the SavedModel"
            " that it was made from"
        )
    return LoadedEncoder(keras_file.as_encoder(encoder), None, metadata)


def from_torch(
    path: Path, backbone: str, *, network: str = "online"
) -> LoadedEncoder:
    """Loads PyTorch's weights.

    Args:
        path: A state dict of torchvision's, or a checkpoint of the MEC authors.
            Only tensors are unpickled: the file runs no code.
        backbone: Name of the backbone that they were made for.
        network: "online" or "target"; torchvision's have the former only.

    Raises:
        MissingPackage: If `torch` is not installed.
        OSError: If there is no such file.
        UserError: If it holds other weights.
    """
    state_dict = read_torch_file(path)
    metadata = _untrained_metadata(backbone) | {"objective": "mec"}
    network_of = build_backbone(backbone)
    projector = None
    if mec_checkpoint.is_mec_checkpoint(state_dict):
        prefix = "target_" if network == "target" else ""
        projector = mec_checkpoint.build_projector(state_dict)
        mec_checkpoint.load_state_dict(
            {f"{prefix}backbone": network_of, f"{prefix}projector": projector},
            state_dict,
        )
    elif network == "target":
        raise UserError(
            f"{path} holds one network, by torchvision's names; leave out"
            " `network`=target"
        )
    else:
        torchvision.load_state_dict(network_of, state_dict)
        metadata["objective"] = None
    encoder = build_encoder(network_of, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return LoadedEncoder(encoder, projector, metadata)


def untrained(backbone: str) -> LoadedEncoder:
    """An untrained encoder.

    Args:
        backbone: A name that `build_backbone` knows.
    """
    encoder = build_encoder(
        build_backbone(backbone), mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    return LoadedEncoder(encoder, None, _untrained_metadata(backbone))


def load_encoder(name: str) -> LoadedEncoder:
    """Loads an encoder by name.

    Args:
        name: Folder of an export, or `random:BACKBONE`.

    Raises:
        UserError: As `from_export`.
    """
    if name.startswith(RANDOM):
        return untrained(name.removeprefix(RANDOM))
    return from_export(Path(name))


def _untrained_metadata(backbone):
    return {
        "backbone": backbone,
        "image_size": 224,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "objective": None,
        "dataset": None,
        "steps": None,
        "scores": {},
        "run": None,
    }
