"""Images in a folder, with or without a subfolder per class.

Every file is listed, in natural order, and its first bytes are looked at; what
is no image is refused by name and reason before training starts.
"""

import collections
import concurrent.futures
import dataclasses
import os
import re

import numpy as np

from mec_tf.data import headers
from mec_tf.errors import MissingPath, UserError

# What calls itself an image, whether we can read it or not.
_READ = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")
_NOT_READ = (".tif", ".tiff", ".heic", ".avif", ".jxl")
_SUFFIXES = _READ + _NOT_READ
# Enough to hide a network drive's delay; a local disk needs none.
_READERS = 8


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images under one folder, in natural order.

    Attributes:
      folder: the folder's path.
      paths: one path per image.
      orientations: int8 `[images]`, Exif's, 1 (upright) to 8.
      class_names: the class folders' names; empty without class folders.
      labels: int64 `[images]`, or None without class folders.
      refused: path -> why it cannot be used.
    """

    folder: str
    paths: tuple[str, ...]
    orientations: np.ndarray
    class_names: tuple[str, ...]
    labels: np.ndarray | None
    refused: dict[str, str]


Found = collections.namedtuple("Found", ["train", "test"])


def find(data_dir, train_split, test_split):
    """Lists the images of a folder's splits.

    Without a subfolder `train_split`, all of the folder is for training; class
    names are then the subfolders of the folder itself.

    Args:
      data_dir: path of a folder.
      train_split: name of the subfolder to learn from.
      test_split: name of the subfolder to test on.

    Returns:
      Found(train, test): a `Listing` each; test is None where there is no such
      subfolder. Labels count through the classes of both.

    Raises:
      UserError: without a path, without images in it, for a split that was
        asked for by name and does not exist.
      MissingPath: where there is no such folder.
    """
    if not data_dir:
        raise UserError(
            "No folder was given. Expected a folder of images: add "
            "--data_dir=DIR."
        )
    data_dir = os.path.expanduser(data_dir)
    if not os.path.exists(data_dir):
        raise MissingPath(
            f"No such folder: {data_dir}. Expected a folder of images: mend "
            "--data_dir."
        )
    if not os.path.isdir(data_dir):
        raise UserError(
            f"Not a folder: {data_dir}. Expected a folder of images: mend "
            "--data_dir."
        )
    splits = {}
    for split, usual in ((train_split, "train"), (test_split, "test")):
        path = os.path.join(data_dir, split)
        if os.path.isdir(path):
            splits[usual] = path
        elif split != usual:
            raise UserError(
                f"Unknown split: {split!r}. Expected a subfolder of "
                f"{data_dir}, which holds {_contents(data_dir)}."
            )
    if "train" not in splits:
        if "test" in splits:
            raise UserError(
                f"{data_dir} has a subfolder {test_split!r} but none called "
                f"{train_split!r}. Expected both or neither, lest the test "
                "images be trained on: name the other by --train_split."
            )
        return Found(_list_images(data_dir), None)
    train = _list_images(splits["train"])
    if "test" not in splits:
        return Found(train, None)
    return Found(*_share_classes(train, _list_images(splits["test"])))


def _share_classes(*listings):
    """Lets a label mean the same class in every listing."""
    names = sorted(
        {name for listing in listings for name in listing.class_names},
        key=_natural,
    )
    number = {name: k for k, name in enumerate(names)}
    return [
        listing
        if listing.labels is None
        else dataclasses.replace(
            listing,
            class_names=tuple(names),
            labels=np.array(
                [number[name] for name in listing.class_names], np.int64
            )[listing.labels],
        )
        for listing in listings
    ]


def _natural(name):
    """Sorts "img2" before "img10"."""
    parts = re.split(r"(\d+)", name)
    parts[::2] = [text.lower() for text in parts[::2]]
    parts[1::2] = [int(digits) for digits in parts[1::2]]
    return parts, name


def _contents(directory):
    names = sorted(os.listdir(directory), key=_natural)
    if not names:
        return "nothing"
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _list_images(directory):
    candidates, refused = _walk(directory)
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        looked_at = list(readers.map(_look, candidates, chunksize=256))
    paths, orientations = [], []
    for path, (reason, orientation) in zip(candidates, looked_at, strict=True):
        if reason is None:
            paths.append(path)
            orientations.append(orientation)
        # A file without a suffix, such as LICENSE, never claimed to be one.
        elif os.path.splitext(path)[1]:
            refused[path] = reason
    if not paths:
        which = "".join(
            f" {os.path.relpath(path, directory)}: {reason}."
            for path, reason in list(refused.items())[:3]
        )
        raise UserError(
            f"No images in {directory}, which holds {_contents(directory)}."
            f"{which} Expected JPEG, PNG, BMP, GIF or WebP files, in it or in "
            "subfolders."
        )
    class_names, labels = _classes(
        [os.path.relpath(path, directory) for path in paths]
    )
    return Listing(
        folder=directory,
        paths=tuple(paths),
        orientations=np.array(orientations, np.int8),
        class_names=class_names,
        labels=labels,
        refused=refused,
    )


def _walk(directory):
    """Finds every file that may be an image, hidden ones aside."""
    files, refused, visited = [], {}, set()

    def visit(folder):
        status, entries = os.stat(folder), list(os.scandir(folder))
        if (status.st_dev, status.st_ino) in visited:
            return  # A link that leads back up.
        visited.add((status.st_dev, status.st_ino))
        before = len(files)
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith("."):
                continue
            try:
                is_folder = entry.is_dir()
                if is_folder:
                    visit(entry.path)
            except OSError as error:  # A link to itself, a lack of rights.
                refused[entry.path] = error.strerror or str(error)
                continue
            if is_folder:
                continue
            if not entry.is_file():
                if suffix in _SUFFIXES:
                    refused[entry.path] = "a broken link or no regular file"
            elif suffix in _SUFFIXES or not suffix:
                files.append(entry.path)
        named_as_file = os.path.splitext(folder)[1].lower() in _SUFFIXES
        if named_as_file and len(files) == before:
            refused[folder] = "a directory, not a file"

    visit(directory)
    return sorted(files, key=_natural), refused


def _look(path):
    """Reads a file's head: (what speaks against it or None, orientation)."""
    try:
        with open(path, "rb", buffering=0) as file:
            header = more = file.read(headers.LENGTH)
            while (
                more and (missing := headers.wanted(header) - len(header)) > 0
            ):
                more = file.read(missing)
                header += more
    except OSError as error:
        return error.strerror or str(error), 1
    return headers.objection(header), headers.orientation(header)


def _classes(paths):
    """Names of class folders and a label per relative path, or ((), None)."""
    folders = [path.split(os.sep)[0] for path in paths]
    names = tuple(sorted(set(folders), key=_natural))
    # One subfolder, or images beside the subfolders, tell no classes apart.
    if len(names) < 2 or not all(os.sep in path for path in paths):
        return (), None
    number = {name: k for k, name in enumerate(names)}
    return names, np.array([number[name] for name in folders], np.int64)
