"""The images below one folder, in natural order, with their classes."""

import concurrent.futures
import dataclasses
import os

import numpy as np

from mec_tf.data.file_names import printable
from mec_tf.data.sources.folder import file_head, roles, suffixes, tree
from mec_tf.data.sources.folder.classes import find_classes
from mec_tf.data.sources.folder.left_out import LeftOut
from mec_tf.errors import UserError

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
        left_out: `LeftOut`, files that are no images that we read.
        notes: lines that say what was understood.
    """

    folder: str
    paths: tuple[str, ...]
    orientations: np.ndarray
    class_names: tuple[str, ...]
    labels: np.ndarray | None
    refused: dict[str, str]
    left_out: LeftOut
    notes: tuple[str, ...]


def list_images(
    directory: str,
    data_dir: str,
    as_given: bool,
    known_classes: tuple[str, ...] = (),
) -> Listing:
    """Lists the images below a folder.

    Args:
        directory: Path of the folder.
        data_dir: Path that the user gave.
        as_given: Whether the folder was given by name, so that folders in it
            that are called as splits are classes.
        known_classes: Names of classes; a single folder called so is a class.

    Raises:
        UserError: Without images, where one folder below holds training and
            test images, where most images are in formats that are not read.
    """
    found = tree.walk(directory)
    if not as_given:
        roles.require_no_splits_below(found.folders, data_dir)
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        looked_at = list(
            readers.map(file_head.look, found.files, chunksize=256)
        )
    refused, left_out = found.refused, LeftOut(found.texts)
    paths, orientations, deep = [], [], []
    for path, seen in zip(found.files, looked_at, strict=True):
        if seen.orientation:
            paths.append(path)
            orientations.append(seen.orientation)
            if seen.is_sixteen_bit:
                deep.append(path)
        elif seen.is_text is None or (
            seen.unread is None and suffixes.of(path) in suffixes.READ
        ):
            refused[path] = seen.objection
        else:
            left_out.add(path, seen.unread, is_text=seen.is_text)
    _require_images(directory, paths, refused, left_out)
    left_out.require_most_kept(directory, len(paths))
    notes = [] if not deep else [_of_sixteen_bits(deep, len(paths))]
    start = len(os.path.join(directory, ""))
    classes = find_classes([path[start:] for path in paths], known_classes)
    kept = np.ones(len(paths), bool)
    if classes.labels is not None:
        kept = classes.labels >= 0
    notes = _of_classes(classes, directory, paths, kept) + notes
    return Listing(
        folder=directory,
        paths=tuple(paths[k] for k in np.flatnonzero(kept)),
        orientations=np.array(orientations, np.int8)[kept],
        class_names=classes.names,
        labels=None if classes.labels is None else classes.labels[kept],
        refused=refused,
        left_out=left_out,
        notes=(*notes, *left_out.lines(directory, len(paths))),
    )


def _require_images(directory, paths, refused, left_out):
    if paths:
        return
    which = "".join(
        f" {printable(os.path.relpath(path, directory))}: {reason}."
        for path, reason in list(refused.items())[:3]
    )
    which += "".join(f" {line}" for line in left_out.lines(directory, 0))
    raise UserError(
        f"No images in {printable(directory)}, which holds "
        f"{printable(tree.contents(directory))}.{which} Expected JPEG, PNG, "
        "BMP, GIF or WebP files, in it or in subfolders."
    )


def _of_sixteen_bits(deep, images):
    return (
        f"{len(deep):,} of {images:,} images are 16-bit PNGs, such as "
        f"{printable(deep[0])}: their upper 8 bits are used, the lower are cut."
    )


def _of_classes(classes, directory, paths, kept):
    """What is said of class folders that are not simply those of the folder."""
    if classes.labels is None:
        return [
            f"No labels: {classes.loose:,} of {len(paths):,} images lie "
            f"beside the subfolders of {printable(directory)}, which are "
            "therefore not taken for classes."
        ] * bool(classes.loose)
    notes = []
    if classes.inside:
        inside = printable(os.path.join(directory, classes.inside))
        notes.append(
            f"The classes are the {len(classes.names):,} folders in {inside}."
        )
    strays = [printable(paths[k]) for k in np.flatnonzero(~kept)]
    if strays:
        notes.append(
            f"Left out, beside the class folders: {tree.shortened(strays)}."
        )
    return notes
