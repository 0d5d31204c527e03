"""Which folders are classes."""

import dataclasses
import os

import numpy as np

from mec_tf.data.sources.folder import tree
from mec_tf.data.sources.folder.strays import few


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes that folders give to their images.

    Attributes:
        names: the class folders' names; empty without class folders.
        labels: int64 `[images]`, -1 for strays; None without class folders.
        inside: path of the folder that holds the class folders; "" at the top.
        loose: how many images lie beside folders, where for them there are no
            labels.
    """

    names: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    inside: str = ""
    loose: int = 0


def find_classes(paths, known=()):
    """Finds the folders that tell images apart.

    These are the first folders of which there is more than one: a single one
    round all the others is no class. A few images beside them are strays.

    Args:
        paths: relative path of each image.
        known: names of classes; a single folder called so is a class.

    Returns:
        `Classes`.
    """
    rest, inside = list(enumerate(paths)), []
    while True:
        parts = [(k, *path.partition(os.sep)) for k, path in rest]
        inner = [(k, name, path) for k, name, slash, path in parts if slash]
        folders = sorted({name for _, name, _ in inner}, key=tree.natural)
        loose = len(paths) - len(inner)
        if not folders:
            return Classes()
        if not few(loose, len(paths)):
            return Classes(loose=loose if len(folders) > 1 else 0)
        if len(folders) > 1 or folders[0] in known:
            break
        inside.append(folders[0])
        rest = [(k, path) for k, _, path in inner]
    number = {name: k for k, name in enumerate(folders)}
    labels = np.full(len(paths), -1, np.int64)
    for k, name, _ in inner:
        labels[k] = number[name]
    return Classes(tuple(folders), labels, os.path.join("", *inside))
