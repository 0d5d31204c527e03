"""Residual networks as torchvision's state dicts, there and back.

Our layers bear torchvision's names but for the dots, so that only these, the
names of the tensors and the order of their axes change. A state dict is a plain
dict of NumPy arrays: `torch` is not needed here, and
`mec_tf.formats.torch_file` puts it on disk.
"""

import re
from collections.abc import Callable, Mapping

import keras
import numpy as np

from mec_tf.errors import UserError
from mec_tf.models.batch_norm import BatchNormalization

# Keras keeps [h, w, in, out] and [in, out]; PyTorch [out, in, h, w], [out, in].
_TO_PYTORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
# "layer1_0_conv1", "layer2_0_downsample_1"
_IN_BLOCK = re.compile(r"(layer\d)_(\d+)_([a-z]+\d*)(?:_(\d))?")
_COUNTER = ".num_batches_tracked"
# Complaints that an error lists: one line is read, a hundred are not.
_SHOWN = 4


def layer_name(name: str) -> str:
    """PyTorch's name of a layer of `mec_tf.models.resnet`.

    Example:
        >>> layer_name("layer2_0_downsample_1")
        'layer2.0.downsample.1'
    """
    parts = _IN_BLOCK.fullmatch(name)
    return ".".join(filter(None, parts.groups())) if parts else name


def to_state_dict(
    backbone: keras.Model, *, rename: Callable[[str], str] = layer_name
) -> dict[str, np.ndarray]:
    """The weights under torchvision's names and in PyTorch's layout.

    Args:
        backbone: A residual network of `mec_tf.models.build_backbone`, or any
            model of convolutions, dense layers and our batch norm.
        rename: Function from a layer's name to PyTorch's name for it.

    Returns:
        A dict from names such as "layer1.0.conv1.weight" and
        "bn1.running_mean" to float32 arrays, bit-identical to the weights, and
        from "bn1.num_batches_tracked", which PyTorch does not use with a fixed
        momentum, to int64 zero. The classifier, "fc", is not there.

    Raises:
        UserError: If the model has weights of other kinds of layers.
    """
    state_dict = {}
    for name, variable in _variables(backbone, rename).items():
        array = variable.numpy()
        array = np.transpose(array, _TO_PYTORCH[array.ndim])
        state_dict[name] = np.ascontiguousarray(array)
        if name.endswith(".running_var"):
            counter = name.removesuffix(".running_var") + _COUNTER
            state_dict[counter] = np.zeros((), np.int64)
    return state_dict


def load_state_dict(
    backbone: keras.Model,
    state_dict: Mapping[str, np.ndarray],
    *,
    rename: Callable[[str], str] = layer_name,
) -> None:
    """Sets the weights to those of torchvision's state dict.

    Args:
        backbone: As for `to_state_dict`; changed in place.
        state_dict: A dict from torchvision's names to arrays (or PyTorch's
            tensors on the CPU). Counters of batches and torchvision's
            classifier ("fc.weight", "fc.bias") are ignored.
        rename: Function from a layer's name to PyTorch's name for it.

    Raises:
        UserError: If names are missing or unexpected, or shapes differ; lists
            the first of them, and changes no weight.
    """
    variables = _variables(backbone, rename)
    given = {
        name: np.asarray(tensor)
        for name, tensor in state_dict.items()
        if not name.endswith(_COUNTER) and name not in ("fc.weight", "fc.bias")
    }
    complaints = [f"missing {name}" for name in variables if name not in given]
    complaints += [f"unexpected {name}" for name in given.keys() - variables]
    for name in variables.keys() & given.keys():
        order = _TO_PYTORCH[len(variables[name].shape)]
        expected = tuple(variables[name].shape[axis] for axis in order)
        if given[name].shape != expected:
            complaints.append(
                f"{name} of shape {given[name].shape} instead of {expected}"
            )
    if complaints:
        shown = sorted(complaints)[:_SHOWN]
        if len(complaints) > _SHOWN:
            shown.append(f"and {len(complaints) - _SHOWN} more")
        raise UserError(
            f"Received a state dict that does not fit {backbone.name!r}: "
            f"{'; '.join(shown)}. Expected torchvision's names "
            "and shapes. Choose the backbone that the weights were made for."
        )
    for name, variable in variables.items():
        order = np.argsort(_TO_PYTORCH[len(variable.shape)])
        variable.assign(np.transpose(given[name], order))


def _variables(model, rename):
    """The model's variables by PyTorch's name."""
    variables = {}
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            named = {
                "weight": layer.gamma,
                "bias": layer.beta,
                "running_mean": layer.moving_mean,
                "running_var": layer.moving_variance,
            }
        elif type(layer) in (keras.layers.Conv2D, keras.layers.Dense):
            named = {"weight": layer.kernel, "bias": layer.bias}
        elif layer.weights:
            raise UserError(
                f"Received model {model.name!r} with layer {layer.name!r} of "
                f"type {type(layer).__name__}; expected a residual network of "
                "mec_tf. Use the SavedModel or Keras format for this one."
            )
        else:
            continue
        for kind, variable in named.items():
            if variable is not None:
                variables[f"{rename(layer.name)}.{kind}"] = variable
    return variables
