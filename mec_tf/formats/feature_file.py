"""Features of named images as a file: NumPy's, or a Parquet table.

Names are valid Unicode; `data.file_names.original` gives the path of one that
is not UTF-8. Features are as the encoder gives them, not of unit length.
"""

import collections
import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import parquet

from mec_tf.data.file_names import is_unicode, printable, stored
from mec_tf.errors import UserError
from mec_tf.files.atomic import replaced_file

SUFFIXES = (".npy", ".npz", ".parquet")


_TABLE = ("name", "class", "path")


def json_path_of(path: str | Path) -> Path:
    """The path of the JSON of a file of features, such as `f.npy.json`."""
    path = Path(path)
    return path.with_name(f"{path.name}.json")


def check(path: str | Path) -> None:
    """Makes sure that a path says how to write, and that nothing is lost.

    Raises:
        UserError: If it has another suffix than `SUFFIXES`, if a folder or
            somebody else's table is in the way, or if it is not UTF-8.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"`output`={printable(str(path))}: features are written as one of"
            f" {', '.join(SUFFIXES)}; name such a file"
        )
    if not is_unicode(str(path)):  # the JSON could not say where they are
        raise UserError(
            f"`output`={printable(str(path))} is not UTF-8; name another file"
        )
    if path.is_dir():
        raise UserError(f"`output`={path} is a folder; name a file")
    table = path.with_suffix(".csv")
    if path.suffix == ".npy" and table.exists() and not _is_table(table):
        raise UserError(
            f"`output`={path} writes the images' names to {table}, which is no"
            " such table; name another file"
        )


def require_room(path: str | Path, images: int, feature_dim: int) -> None:
    """Makes sure that the disk has room for features, float32.

    Raises:
        UserError: If it has not.
    """
    needed = 4 * images * feature_dim
    free = shutil.disk_usage(Path(path).parent).free
    if needed > free:
        raise UserError(
            f"`output`={path}: {images:,} features of {feature_dim:,} numbers"
            f" take {needed / 1e9:.3g} GB, its disk has {free / 1e9:.3g} GB"
            " free; name a file on a larger one"
        )


def stored_names(paths: Sequence[str]) -> list[str]:
    """Names as they are written: valid Unicode, no two the same.

    Raises:
        UserError: If a name that is not UTF-8 would be written as another.
    """
    names = [stored(path) for path in paths]
    (name, count) = collections.Counter(names).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{count} images would all be called {printable(name)} in the file"
            " of features, as not all of their names are UTF-8; rename them"
        )
    return names


def save(path, features, names, class_names, paths=None):
    """Writes features, one row per image.

    `.npz` holds `features` float32 `[n, d]`, `names`, `paths`, `labels` (-1
    where there are none) and `class_names`; `.parquet` the columns `name`,
    `class`, `path` and `features`; `.npy` the features alone, and a table with
    the same name and the suffix `.csv` the other columns.

    Args:
        path: Ends in one of `SUFFIXES`.
        features: `evaluations.features.Features`.
        names: One per image; see `stored_names`.
        class_names: One per class, or None.
        paths: One per image, relative to the folder of the data; None: as
            `names`.
    """
    path = Path(path)
    paths = names if paths is None else paths
    labels = features.labels
    classes = [_class_text(label, class_names) for label in labels]
    if path.suffix == ".npy":
        with (
            replaced_file(path.with_suffix(".csv")) as partial,
            open(partial, "w", newline="", encoding="utf-8") as file,
        ):
            table = csv.writer(file, lineterminator="\n")
            table.writerow(_TABLE)
            table.writerows(zip(names, classes, paths, strict=True))
    with replaced_file(path) as partial, open(partial, "wb") as file:
        if path.suffix == ".npy":
            np.save(file, features.values)
        elif path.suffix == ".npz":
            np.savez(
                file,
                features=features.values,
                names=np.array(names),
                paths=np.array(paths),
                labels=labels,
                class_names=np.array(class_names or ()),
            )
        else:
            parquet.write_table(_table(features, names, classes, paths), file)


def _is_table(path):
    """Whether a table begins as those of `save` do, of older versions, too."""
    beginning = ",".join(_TABLE[:2]).encode()
    with open(path, "rb") as file:
        return file.read(len(beginning)) == beginning


def _class_text(label, class_names):
    """A class, several separated by semicolons, or nothing."""
    if np.ndim(label):
        return ";".join(class_names[k] for k in np.flatnonzero(label == 1))
    return class_names[label] if class_names and label >= 0 else ""


def _table(features, names, classes, paths):
    n, d = features.values.shape
    rows = pyarrow.FixedSizeListArray.from_arrays(
        pyarrow.array(np.ascontiguousarray(features.values).reshape(n * d)), d
    )
    return pyarrow.table(
        {
            "name": list(names),
            "class": classes,
            "path": list(paths),
            "features": rows,
        }
    )
