"""The listings of a folder's splits, with classes that they share."""

import collections
import dataclasses
import os

import numpy as np

from mec_tf.data.file_names import is_unicode, printable
from mec_tf.data.sources.folder import tree
from mec_tf.data.sources.folder.listing import list_images
from mec_tf.data.sources.folder.splits import find_splits
from mec_tf.data.sources.folder.strays import few
from mec_tf.errors import MissingPath, UserError

Found = collections.namedtuple("Found", ["train", "test"])


def find(data_dir, train_split, test_split):
    """Lists the images of a folder's splits.

    Args:
        data_dir: path of a folder.
        train_split: as `find_splits` takes it.
        test_split: as `find_splits` takes it.

    Returns:
        Found(train, test): a `Listing` each; test is None where there is no
        such subfolder. Labels count through the classes of both.

    Raises:
        UserError: without a path, without images in it, where a split that was
            asked for does not exist, where a layout has two meanings, where
            more images are in formats that are not read than in others.
        MissingPath: where there is no such folder.
    """
    data_dir = _checked(data_dir)
    splits = find_splits(data_dir, train_split, test_split)
    train = list_images(splits.train, data_dir, splits.is_given)
    notes = [*splits.notes, *_of_loose(splits, train, data_dir)]
    if splits.test is None:
        return Found(_noted(train, notes), None)
    test = list_images(
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
    """Reports images outside of the splits; refuses many."""
    if not splits.loose:
        return []
    count, first = len(splits.loose), printable(splits.loose[0])
    if not few(count, count + len(train.paths)):
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
    """Gives the same class the same label in every listing."""
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
