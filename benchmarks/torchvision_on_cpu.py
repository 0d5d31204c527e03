"""torchvision beside a PyTorch that computes on CPUs alone.

PyPI's torchvision for Linux is built for CUDA, and there is no other one there;
the PyTorch that an index offers may be built for CPUs. Together they are no
matching pair: torchvision's compiled operators (boxes, video) cannot be loaded,
and its import ends when it describes them. The networks and the transforms
that are the tests' oracles need none of them.
"""

import importlib
from types import ModuleType


def import_torchvision() -> ModuleType:
    """Imports torchvision, whatever PyTorch was built for.

    Raises:
        ImportError: If torch or torchvision is not installed.
    """
    torch = importlib.import_module("torch")
    if torch.version.cuda:
        return importlib.import_module("torchvision")
    register_fake = torch.library.register_fake
    torch.library.register_fake = lambda *_, **__: lambda function: function
    try:
        return importlib.import_module("torchvision")
    finally:
        torch.library.register_fake = register_fake
