"""Features of named images as a file: NumPy's, or a Parquet table."""

import csv
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import parquet

from mec_tf.errors import UserError
from mec_tf.files import replaced_file

SUFFIXES = (".npy", ".npz", ".parquet")


def check(path):
    """Makes sure that a path says how to write.

    Raises:
        UserError: If it has another suffix than `SUFFIXES`, or no folder.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"--output={path}: features are written as one of"
            f" {', '.join(SUFFIXES)}; name such a file"
        )
    if not path.parent.is_dir():
        raise UserError(
            f"--output={path}: there is no folder {path.parent}; make it"
        )


def save(path, features, names, class_names):
    """Writes features, one row per image.

    `.npz` holds `features` float32 `[n, d]`, `names`, `labels` (-1 where there
    are none) and `class_names`; `.parquet` the columns `name`, `class` and
    `features`; `.npy` the features alone, and a table with the same name and
    the suffix `.csv` names and classes.

    Args:
        path: Ends in one of `SUFFIXES`.
        features: `evaluations.features.Features`.
        names: One per image.
        class_names: One per class, or None.
    """
    path = Path(path)
    labels = features.labels
    classes = [_class_text(label, class_names) for label in labels]
    if path.suffix == ".npy":
        with (
            replaced_file(path.with_suffix(".csv")) as partial,
            open(partial, "w", newline="") as file,
        ):
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["name", "class"])
            table.writerows(zip(names, classes, strict=True))
    with replaced_file(path) as partial, open(partial, "wb") as file:
        if path.suffix == ".npy":
            np.save(file, features.values)
        elif path.suffix == ".npz":
            np.savez(
                file,
                features=features.values,
                names=np.array(names),
                labels=labels,
                class_names=np.array(class_names or ()),
            )
        else:
            parquet.write_table(_table(features, names, classes), file)


def _class_text(label, class_names):
    """A class, several separated by semicolons, or nothing."""
    if np.ndim(label):
        return ";".join(class_names[k] for k in np.flatnonzero(label == 1))
    return class_names[label] if class_names and label >= 0 else ""


def _table(features, names, classes):
    n, d = features.values.shape
    rows = pyarrow.FixedSizeListArray.from_arrays(
        pyarrow.array(np.ascontiguousarray(features.values).reshape(n * d)), d
    )
    return pyarrow.table(
        {
            "name": list(names),
            "class": classes,
            "features": rows,
        }
    )
