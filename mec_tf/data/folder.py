"""Images in a folder, with or without a subfolder per class."""

import collections
import dataclasses
import os
import re

import numpy as np

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images under one folder, in natural order.

    Attributes:
      folder: the folder's path.
      paths: one path per image.
      labels: int64 `[images]`, or None without class folders.
      class_names: the class folders' names, or None.
    """

    folder: str
    paths: tuple[str, ...]
    labels: np.ndarray | None
    class_names: tuple[str, ...] | None


Found = collections.namedtuple("Found", ["train", "test"])


def find(data_dir, train_split, test_split):
    """Lists the images of a folder's splits.

    Args:
      data_dir: path of a folder.
      train_split: name of the subfolder to learn from.
      test_split: name of the subfolder to test on.

    Returns:
      Found(train, test): a `Listing` each; test may be None.

    Raises:
      ValueError: without a path, or without images in it.
      FileNotFoundError: where there is no such folder.
    """
    if not data_dir:
        raise ValueError(
            "The folder data set needs a folder: give --data_dir=DIR."
        )
    data_dir = os.path.expanduser(data_dir)
    if not os.path.isdir(data_dir):
        raise FileNotFoundError(f"No such folder: {data_dir}.")
    train_dir = os.path.join(data_dir, train_split)
    test_dir = os.path.join(data_dir, test_split)
    if not os.path.isdir(train_dir):
        return Found(_list_images(data_dir), None)
    test = None
    if os.path.isdir(test_dir):
        test = _list_images(test_dir)
    return Found(_list_images(train_dir), test)


def _natural(path):
    return [
        int(part) if part.isdigit() else part.lower()
        for part in re.split(r"(\d+)", path)
    ]


def _list_images(directory):
    relative = []
    for parent, _, names in os.walk(directory, followlinks=True):
        relative += [
            os.path.relpath(os.path.join(parent, name), directory)
            for name in names
            if name.lower().endswith(_SUFFIXES)
        ]
    if not relative:
        raise ValueError(f"No images in {directory}.")
    relative.sort(key=_natural)
    classes = [path.split(os.sep)[0] for path in relative]
    names = tuple(sorted(set(classes), key=_natural))
    labelled = len(names) > 1 and all(os.sep in path for path in relative)
    labels = None
    if labelled:
        labels = np.array([names.index(name) for name in classes], np.int64)
    return Listing(
        folder=directory,
        paths=tuple(os.path.join(directory, path) for path in relative),
        labels=labels,
        class_names=names if labelled else None,
    )
