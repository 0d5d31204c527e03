"""The layout of the MEC authors' PyTorch checkpoints, there and back.

Theirs is one state dict: "module.encoder" is torchvision's network with the
projector in place of its classifier, "module.encoder.fc.0" to ".7";
"module.predictor.0" to ".3" is the predictor; "module.teacher" is the target
network, like the encoder.
"""

import numpy as np

from mec_tf.errors import UserError
from mec_tf.formats import torchvision
from mec_tf.models import heads


def to_state_dict(networks):
    """The networks of a run in the layout of the authors' checkpoints.

    Args:
        networks: A dict from "backbone", "projector", "predictor",
            "target_backbone" and "target_projector" (all or some of them) to
            models of `mec_tf.models`.

    Returns:
        A dict from names such as "module.encoder.conv1.weight" to NumPy arrays.

    Raises:
        UserError: If a network has another name.
    """
    state_dict = {}
    for part, network in networks.items():
        prefix, rename = _layout(part)
        tensors = torchvision.to_state_dict(network, rename=rename)
        state_dict |= {prefix + name: t for name, t in tensors.items()}
        if part.endswith("projector"):
            # Theirs has a bias there, frozen, that the batch norm cancels.
            linear = _last_linear(network)
            width = state_dict[f"{prefix}{linear}.weight"].shape[0]
            state_dict[f"{prefix}{linear}.bias"] = np.zeros(width, np.float32)
    return state_dict


def load_state_dict(networks, state_dict):
    """Sets the networks of a run to the authors' weights.

    Args:
        networks: As for `to_state_dict`; changed in place. What the checkpoint
            holds beyond them is ignored.
        state_dict: A dict in the layout of the authors' checkpoints.

    Raises:
        UserError: If a network has another name, or its weights are not there
            or of other shapes.
    """
    for part, network in networks.items():
        prefix, rename = _layout(part)
        tensors = {
            name.removeprefix(prefix): np.asarray(tensor)
            for name, tensor in state_dict.items()
            if name.startswith(prefix)
        }
        if part.endswith("backbone"):
            tensors = {
                name: tensor
                for name, tensor in tensors.items()
                if not name.startswith("fc.")
            }
        if part.endswith("projector"):
            tensors = _without_last_bias(tensors, _last_linear(network))
        torchvision.load_state_dict(network, tensors, rename=rename)


def build_projector(state_dict):
    """Builds a projector of the sizes that a checkpoint's has.

    Args:
        state_dict: A dict in the layout of the authors' checkpoints.

    Returns:
        What `heads.build_projector` returns, with fresh weights.

    Raises:
        UserError: If the checkpoint has no projector, or one whose hidden
            layers differ in width.
    """
    prefix = _layout("projector")[0]
    shapes = [
        np.shape(tensor)
        for name, tensor in state_dict.items()
        if name.startswith(prefix) and np.ndim(tensor) == 2
    ]
    if not shapes:
        raise UserError(
            f"Received a checkpoint without {prefix}0.weight; expected the "
            "authors' projector. Give their whole checkpoint."
        )
    hidden = {rows for rows, _ in shapes[:-1]}
    if len(hidden) > 1:
        raise UserError(
            "Received a checkpoint whose projector has hidden layers of "
            f"{' and '.join(map(str, sorted(hidden)))}; expected one width, as "
            "in the authors' code. Give the backbone's weights alone, by "
            "torchvision's names."
        )
    return heads.build_projector(
        shapes[0][1],
        dim=shapes[-1][0],
        layers=len(shapes),
        hidden_dim=shapes[0][0],
    )


def is_mec_checkpoint(state_dict):
    """Whether the names are those of the authors' checkpoints."""
    return any(name.startswith("module.encoder.") for name in state_dict)


def _without_last_bias(tensors, linear):
    # The last batch norm has no offset of its own: a bias before it moves the
    # mean of what it sees, and nothing else.
    tensors = dict(tensors)
    bias = tensors.pop(f"{linear}.bias", 0.0)
    mean = f"{linear + 1}.running_mean"
    if mean in tensors:
        tensors[mean] = tensors[mean] - bias
    return tensors


def _layout(part):
    """Where a network stands among theirs, and how its layers are named."""
    layouts = {
        "backbone": ("module.encoder.", torchvision.layer_name),
        "projector": ("module.encoder.fc.", _place_in_head),
        "predictor": ("module.predictor.", _place_in_head),
        "target_backbone": ("module.teacher.", torchvision.layer_name),
        "target_projector": ("module.teacher.fc.", _place_in_head),
    }
    if part not in layouts:
        raise UserError(
            f"Received a network named {part!r}; expected one of "
            f"{', '.join(layouts)}. Rename it."
        )
    return layouts[part]


def _place_in_head(name):
    """From "linear2" or "bn2" to "3" or "4": linear, batch norm, ReLU, ..."""
    kind = name.rstrip("0123456789")
    index = int(name.removeprefix(kind))
    return str(3 * (index - 1) + {"linear": 0, "bn": 1}[kind])


def _last_linear(projector):
    layers = sum(layer.name.startswith("linear") for layer in projector.layers)
    return 3 * (layers - 1)
