"""Subsets of a labelled set: a share of each class, a held-out part, a list."""

import collections
import os
from pathlib import Path

import numpy as np

from mec_tf.data.sources.source import Source
from mec_tf.errors import UserError

# Of random numbers, one for each purpose: a part that is held out is not the
# part that a fraction of the same set would be. A number once given stays, as
# which images are drawn depends on it.
_FRACTION, _HOLD_OUT = 8, 9


def check(train: Source, test: Source) -> None:
    """Makes sure that splits that were given apart have the same classes.

    Args:
        train: labelled `Source`.
        test: labelled `Source`.

    Raises:
        UserError: where classes differ; of folders, those that have images.
    """
    classes = [
        set(_classes_used(one) if one.file_names else one.class_names)
        for one in (train, test)
    ]
    if classes[0] != classes[1]:
        raise UserError(
            f"the splits differ in their classes: {len(classes[0])} in "
            f"{train.description}, {len(classes[1])} in {test.description}; "
            f"{_some(sorted(classes[0] ^ classes[1]))} only in one of them. "
            "Give both the same classes: subfolders of the same names"
        )


def _classes_used(source):
    return [source.class_names[label] for label in np.unique(source.labels)]


def fraction(source: Source, share: float, *, seed: int) -> Source:
    """The same share of every class, drawn at random.

    As SimCLR's 1 % and 10 % of ImageNet, class by class; at least one image of
    each. Where images are of several classes each: that share of all images.

    Args:
        source: labelled `Source`.
        share: in (0, 1].
        seed: decides which images.

    Returns:
        A `Source`.
    """
    if share == 1:
        return source
    chosen = _drawn(source, share, seed, _FRACTION, leave=0)
    of = "the images" if source.multi_label else "each class"
    return source.part(np.flatnonzero(chosen), f"{100 * share:g} % of {of}")


def hold_out(source: Source, share: float, *, seed: int) -> np.ndarray:
    """Holds a share of every class out: at least one image, but not its last.

    Args:
        source: labelled `Source`.
        share: in (0, 1); of multi-label sets, of all images.
        seed: decides which images.

    Returns:
        Boolean `[n]`, which images are held out.

    Raises:
        UserError: where no class has an image to spare.
    """
    chosen = _drawn(source, share, seed, _HOLD_OUT, leave=1)
    if not chosen.any():
        raise UserError(
            f"`validation_fraction`={share:g}: a validation part of "
            f"{source.description} needs at least 2 images of a class, but "
            f"each has 1; raise `label_fraction`, or take a protocol that "
            "holds none out (knn, finetune)"
        )
    return chosen


def _drawn(source, share, seed, stream, leave):
    """Boolean `[n]`: of each group at least one, but `leave` so many."""
    generator = np.random.default_rng([seed, stream, source.size])
    if source.multi_label:
        groups = [np.arange(source.size)]
    else:
        groups = [
            np.flatnonzero(source.labels == label)
            for label in np.unique(source.labels)
        ]
    chosen = np.zeros(source.size, bool)
    for members in groups:
        count = max(1, round(share * len(members)))
        count = min(count, len(members) - leave)
        chosen[generator.permutation(members)[:count]] = True
    return chosen


def listed(source: Source, path: str) -> Source:
    """The images that a file names, one per line.

    Such as SimCLR's published lists of ImageNet files. A line may be a bare
    name or end in as many folders as it takes to tell images apart.

    Args:
        source: `Source` whose images have names.
        path: the list.

    Returns:
        A `Source`, in the list's order.

    Raises:
        UserError: where images have no names, or a line names none of them, or
            several.
    """
    if source.names is None:
        raise UserError(
            f"`split_file`={path}: the images of {source.description} have no "
            "names; use `label_fraction`"
        )
    # As file names are: bytes that need not be UTF-8.
    text = os.fsdecode(Path(path).read_bytes())
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line]
    lengths = {line.count("/") + 1 for line in lines}
    places = {length: collections.defaultdict(list) for length in lengths}
    for index, name in enumerate(source.names):
        parts = name.replace(os.sep, "/").split("/")
        for length in lengths:
            places[length]["/".join(parts[-length:])].append(index)
    found = [places[line.count("/") + 1].get(line, []) for line in lines]
    for wrong, what in (
        ([n for n, at in zip(lines, found, strict=True) if not at], "unknown"),
        (
            [n for n, at in zip(lines, found, strict=True) if len(at) > 1],
            "ambiguous",
        ),
    ):
        if wrong:
            raise UserError(
                f"`split_file`={path} names {len(wrong):,} {what} images of "
                f"{len(lines):,}: {_some(wrong)}; the images are called such "
                f"as {source.names[0]}"
            )
    if not lines:
        raise UserError(f"`split_file`={path} is empty; name images in it")
    chosen = np.concatenate(found)
    return source.part(chosen, f"those that {path} names")


def _some(names):
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
