"""Images in a folder, with or without a subfolder per class.

Every file is listed, in natural order, and its first bytes are looked at; what
is no image is refused by name and reason before training starts. What is said
of which folder: docs/data.md.
"""

import collections
import concurrent.futures
import dataclasses
import os
from typing import NamedTuple

import numpy as np

from mec_tf.data import headers, layout, suffixes, tree
from mec_tf.data.file_names import is_unicode, printable
from mec_tf.data.left_out import LeftOut
from mec_tf.errors import MissingPath, UserError

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


Found = collections.namedtuple("Found", ["train", "test"])


def find(data_dir, train_split, test_split):
    """Lists the images of a folder's splits.

    Args:
      data_dir: path of a folder.
      train_split: as `layout.find_splits` takes it.
      test_split: as `layout.find_splits` takes it.

    Returns:
      Found(train, test): a `Listing` each; test is None where there is no such
      subfolder. Labels count through the classes of both.

    Raises:
      UserError: without a path, without images in it, where a split that was
        asked for does not exist, where a layout has two meanings, where more
        images are in formats that are not read than in others.
      MissingPath: where there is no such folder.
    """
    data_dir = _checked(data_dir)
    splits = layout.find_splits(data_dir, train_split, test_split)
    train = _list_images(splits.train, data_dir, splits.is_given)
    notes = [*splits.notes, *_of_loose(splits, train, data_dir)]
    if splits.test is None:
        return Found(_noted(train, notes), None)
    test = _list_images(
        splits.test, data_dir, splits.is_given, train.class_names
    )
    if (train.labels is None) != (test.labels is None):
        without, other = (
            (train, test) if train.labels is None else (test, train)
        )
        notes.append(
            f"No labels: {printable(without.folder)} has no class folders, "
            f"while {printable(other.folder)} has {len(other.class_names):,}."
        )
    elif unknown := sorted(set(test.class_names) - set(train.class_names)):
        names = tree.shortened([printable(name) for name in unknown])
        notes.append(
            f"Classes of {printable(test.folder)} that "
            f"{printable(train.folder)} lacks: {names}."
        )
    train, test = _share_classes(_noted(train, notes), test)
    return Found(train, test)


def _checked(data_dir):
    if not data_dir:
        raise UserError(
            "No folder was given. Expected a folder of images: add "
            "`data_dir`=DIR."
        )
    data_dir = os.path.expanduser(data_dir)
    shown = printable(data_dir)
    if not os.path.exists(data_dir):
        raise MissingPath(
            f"No such folder: {shown}. Expected a folder of images: mend "
            "`data_dir`."
        )
    if not os.path.isdir(data_dir):
        raise UserError(
            f"Not a folder: {shown}. Expected a folder of images: mend "
            "`data_dir`."
        )
    if not is_unicode(data_dir):  # The run could not write down its flags.
        raise UserError(
            f"`data_dir`={shown} is not UTF-8; rename the folder, or give a "
            "link to it"
        )
    return data_dir


def _noted(listing, notes):
    return dataclasses.replace(listing, notes=(*notes, *listing.notes))


def _of_loose(splits, train, data_dir):
    """Says which images lie beside the splits, refuses many."""
    if not splits.loose:
        return []
    count, first = len(splits.loose), printable(splits.loose[0])
    if not layout.few(count, count + len(train.paths)):
        asked = os.path.relpath(splits.train, data_dir)
        raise UserError(
            f"{count:,} images, such as {first}, lie beside the splits, "
            f"{printable(splits.train)} holds {len(train.paths):,}: give "
            f"`train_split`={printable(asked)}/ to learn from it alone, or "
            "move them into it"
        )
    names = tree.shortened([printable(path) for path in splits.loose])
    return [f"Left out, beside {printable(splits.train)}: {names}."]


def _share_classes(*listings):
    """Lets a label mean the same class in every listing."""
    names = sorted(
        {name for listing in listings for name in listing.class_names},
        key=tree.natural,
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


def _list_images(directory, data_dir, as_given, known_classes=()):
    found = tree.walk(directory)
    if not as_given:
        layout.require_no_splits_below(found.folders, data_dir)
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        looked_at = list(readers.map(_look, found.files, chunksize=256))
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
    classes = layout.find_classes(
        [path[start:] for path in paths], known_classes
    )
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


class _Seen(NamedTuple):
    """What a file's head tells.

    Attributes:
      orientation: Exif's, 1 (upright) to 8; 0 where it is no image.
      is_sixteen_bit: whether the image has more bits than are read.
      objection: why it cannot be read; else None.
      unread: an image's format that is not read; else None.
      is_text: whether it may be a text; None where there is nothing to read.
    """

    orientation: int
    is_sixteen_bit: bool = False
    objection: str | None = None
    unread: str | None = None
    is_text: bool | None = None


def _look(path):
    try:
        with open(path, "rb", buffering=0) as file:
            header = more = file.read(headers.LENGTH)
            while (
                more and (missing := headers.wanted(header) - len(header)) > 0
            ):
                more = file.read(missing)
                header += more
    except OSError as error:
        return _Seen(0, objection=error.strerror or str(error))
    objection = headers.objection(header)
    if objection is None:
        return _Seen(
            headers.orientation(header), headers.is_sixteen_bit(header)
        )
    return _Seen(
        0,
        objection=objection,
        unread=headers.unread(header),
        is_text=b"\0" not in header,
    )
