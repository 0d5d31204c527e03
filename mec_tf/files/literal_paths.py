"""Paths with brackets, for readers that take them for glob patterns.

TensorFlow looks for checkpoints and SavedModels by pattern: in `runs/lr[0.3]`
it finds nothing, since the brackets stand for one character of `0.3`. There is
no way to quote them. `*` and `?` match themselves, too, and do no harm.
"""

import contextlib
import os
import tempfile
from pathlib import Path

from mec_tf.errors import UserError

# What means something else in TensorFlow's patterns.
_SPECIAL = frozenset("[\\")


def is_pattern(path: str | Path) -> bool:
    """Whether TensorFlow takes a path for another than it is."""
    return bool(_SPECIAL & set(str(path)))


@contextlib.contextmanager
def literal(folder):
    """A path of a folder that TensorFlow can read from, inside the block.

    Args:
        folder: `pathlib.Path` of a folder.

    Yields:
        The folder itself, or a link to it where its path is a pattern.

    Raises:
        UserError: If links cannot be had: their folder's path is a pattern.
    """
    if not is_pattern(folder):
        yield folder
        return
    place = tempfile.gettempdir()
    if is_pattern(place):
        raise UserError(
            f"{folder} cannot be read: TensorFlow takes brackets, * and ?"
            f" in a path for a pattern, nor linked to from TMPDIR={place};"
            " give TMPDIR a path without, or rename the folder"
        )
    with tempfile.TemporaryDirectory(prefix="mec_tf_", dir=place) as links:
        link = Path(links) / "folder"
        os.symlink(os.path.abspath(folder), link, target_is_directory=True)
        yield link
