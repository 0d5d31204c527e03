"""Where an encoder that is handed on comes from.

A kept checkpoint of a run, an export, PyTorch's weights, or nowhere: fresh
weights. None of them needs the training data.
"""

from pathlib import Path
from typing import NamedTuple

import keras

from mec_tf.augment import policy
from mec_tf.errors import UserError
from mec_tf.files.atomic import unreplaced
from mec_tf.formats import keras_file, mec_checkpoint, torchvision
from mec_tf.formats.card import CARD, read_card
from mec_tf.formats.keras_file import KERAS_FILE
from mec_tf.formats.torch_file import read_torch_file
from mec_tf.models import build_backbone, ema, heads
from mec_tf.models.encoder import build_encoder
from mec_tf.training import checkpoint, run_record, workdir

RANDOM = "random:"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NETWORKS = ("online", "target")


class Origin(NamedTuple):
    """An encoder, ready to be written in any format.

    Attributes:
        encoder: `keras.Model`, float32 RGB `[n, h, w, 3]` in [0, 1] to features
            `[n, d]`.
        projector: `keras.Model`, features to embeddings `[n, k]`, or None where
            there is none.
        about: What `card.write_card` takes beside the encoder.
    """

    encoder: keras.Model
    projector: keras.Model | None
    about: dict


def from_run(folder, *, step=None, network="online", setting="workdir"):
    """Takes a network out of a kept checkpoint of a run.

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
    about = {
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
    return Origin(encoder, projector, about)


def from_export(folder):
    """Opens an export again, to convert it.

    Args:
        folder: `pathlib.Path` of an export that holds `encoder.keras`.

    Raises:
        UserError: If it holds none, or a card that is no export's.
    """
    try:
        card, encoder = unreplaced(
            folder,
            lambda: (
                read_card(folder),
                keras.models.load_model(folder / KERAS_FILE),
            ),
        )
        names = _about_untrained("").keys() - {"run"}
        about = {name: card[name] for name in names}
        about["run"] = card.get("run")  # older cards have none
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"`encoder`={folder} cannot be opened: it needs {KERAS_FILE} and"
            f" {CARD}; give the folder of a SavedModel or Keras export, or"
            " random:BACKBONE"
        ) from error
    if isinstance(encoder.output, dict):
        raise UserError(
            f"`encoder`={folder} returns more than features"
            f" ({', '.join(encoder.output)}); convert the run or the SavedModel"
            " that it was made from"
        )
    return Origin(keras_file.as_encoder(encoder), None, about)


def from_torch(path, backbone, *, network="online"):
    """Takes over PyTorch's weights.

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
    about = _about_untrained(backbone) | {"objective": "mec"}
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
        about["objective"] = None
    encoder = build_encoder(network_of, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return Origin(encoder, projector, about)


def untrained(backbone):
    """The weights that training starts from.

    Args:
        backbone: A name that `build_backbone` knows.
    """
    encoder = build_encoder(
        build_backbone(backbone), mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    return Origin(encoder, None, _about_untrained(backbone))


def open_origin(encoder):
    """The origin of a name: the folder of an export or `random:BACKBONE`."""
    if encoder.startswith(RANDOM):
        return untrained(encoder.removeprefix(RANDOM))
    return from_export(Path(encoder))


def _about_untrained(backbone):
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
