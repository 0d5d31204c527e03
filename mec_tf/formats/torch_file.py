"""PyTorch's files of weights, read and written with `torch`."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mec_tf.errors import MissingPackage, UserError
from mec_tf.files.atomic import replaced_file


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Reads a state dict from a `.pth` or `.pth.tar` file.

    Only tensors and plain containers are unpickled, so that a file from others
    runs no code.

    Args:
        path: The file: a state dict, or a checkpoint that holds one under
            "state_dict" or "model".

    Returns:
        A dict from names to NumPy arrays; bfloat16, which NumPy lacks, becomes
        float32.

    Raises:
        MissingPackage: If `torch` is not installed.
        OSError: If there is no such file.
        UserError: If the file holds no state dict, or more than weights.
    """
    torch = _import_torch()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = (str(error).strip().splitlines() or ["it is cut off"])[0]
        raise UserError(
            f"Received {path}, which cannot be unpickled with weights only: "
            f"{reason} Expected a file of torch.save that holds tensors and "
            "plain containers. Save the module's state_dict()."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(tensor, torch.Tensor) for tensor in content.values()
    ):
        raise UserError(
            f"Received {path}, which holds no state dict; expected a dict from "
            "names to tensors, by itself or under 'state_dict' or 'model'. "
            "Save the module's state_dict() with torch.save."
        )
    return {name: _to_numpy(tensor) for name, tensor in content.items()}


def write_torch_file(path: Path, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict as a `.pth` file that `torch.load` reads.

    The file appears whole or not at all.

    Args:
        path: The file to write; replaced if it exists.
        state_dict: A dict from names to NumPy arrays.

    Raises:
        MissingPackage: If `torch` is not installed.
    """
    torch = _import_torch()
    tensors = {
        name: torch.from_numpy(np.array(array))
        for name, array in state_dict.items()
    }
    with replaced_file(path) as partial:
        torch.save(tensors, partial)


def _to_numpy(tensor):
    tensor = tensor.detach()  # a parameter would not leave its graph
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()
    return tensor.numpy()


def _import_torch():
    try:
        import torch
    except ImportError as error:
        raise MissingPackage(
            "Reading and writing PyTorch's files needs the package torch, "
            "which is not installed. Run: pip install torch"
        ) from error
    return torch
