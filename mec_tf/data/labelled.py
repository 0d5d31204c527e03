"""Parts of a labelled set: a share of each class, a held-out part, a list."""

import collections
import os
from pathlib import Path

import numpy as np


def check(train, test):
    """Makes sure that splits that were given apart have the same classes.

    Args:
      train: labelled `Source`.
      test: labelled `Source`.

    Raises:
      ValueError: where classes differ; of folders, those that have images.
    """
    classes = [
        set(_classes_used(one) if one.file_names else one.class_names)
        for one in (train, test)
    ]
    if classes[0] != classes[1]:
        raise ValueError(
            f"the splits differ in their classes: {len(classes[0])} in "
            f"{train.description}, {len(classes[1])} in {test.description}; "
            f"{_some(sorted(classes[0] ^ classes[1]))} only in one of them. "
            "Give both the same classes: subfolders of the same names"
        )


def _classes_used(source):
    return [source.class_names[label] for label in np.unique(source.labels)]


def fraction(source, share, *, seed):
    """The same share of every class, drawn at random.

    As SimCLR's 1 % and 10 % of ImageNet, class by class; at least one image of
    each.

    Args:
      source: labelled `Source`.
      share: in (0, 1].
      seed: decides which images.

    Returns:
      A `Source`.

    Raises:
      ValueError: for a set whose images are of several classes each.
    """
    if share == 1:
        return source
    chosen, _ = _split(source, share, seed, "fraction")
    return source.part(chosen, f"{100 * share:g} % of each class")


def hold_out(source, share, *, seed):
    """Holds a share of every class out.

    Args:
      source: labelled `Source`.
      share: in (0, 1); of multi-label sets, of all images.
      seed: decides which images.

    Returns:
      (indices kept, indices held out), int64.
    """
    held_out, kept = _split(source, share, seed, "hold-out")
    return kept, held_out


def _split(source, share, seed, purpose):
    """(chosen, rest): a share of each class, at least one, not all."""
    generator = np.random.default_rng([seed, len(purpose), source.size])
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
        chosen[generator.permutation(members)[:count]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def listed(source, path):
    """The images that a file names, one per line.

    Such as SimCLR's published lists of ImageNet files. A line may be a bare
    name or end in as many folders as it takes to tell images apart.

    Args:
      source: `Source` whose images have names.
      path: the list.

    Returns:
      A `Source`, in the list's order.

    Raises:
      ValueError: where images have no names, or a line names none of them, or
        several.
    """
    if source.names is None:
        raise ValueError(
            f"--split_file={path}: the images of {source.description} have no "
            "names; use --label_fraction"
        )
    lines = [line.strip() for line in Path(path).read_text().splitlines()]
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
            raise ValueError(
                f"--split_file={path} names {len(wrong):,} {what} images of "
                f"{len(lines):,}: {_some(wrong)}; the images are called such "
                f"as {source.names[0]}"
            )
    if not lines:
        raise ValueError(f"--split_file={path} is empty; name images in it")
    chosen = np.concatenate(found)
    return source.part(chosen, f"those that {path} names")


def _some(names):
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
