"""The usual names of splits."""

import collections
import os

from mec_tf.data.file_names import printable
from mec_tf.errors import UserError

# A split's folder by its name in small letters.
ROLES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def require_no_splits_below(folders, data_dir):
    """Refuses training and test folders that lie inside classes.

    Args:
        folders: paths of all folders below the one to learn from.
        data_dir: path that the user gave.

    Raises:
        UserError: where one folder holds training and test images.
    """
    roles = collections.defaultdict(dict)
    for path in folders:
        above, name = os.path.split(path)
        role = ROLES.get(name.lower())
        if role:
            roles[above][role] = name
    for above, names in roles.items():
        if "train" in names and len(names) > 1:
            raise UserError(
                f"{printable(above)} holds {printable(names.pop('train'))} and "
                f"{printable(next(iter(names.values())))}, but splits are read "
                "only above the classes, and test images are not to be trained "
                f"on; give `data_dir`={printable(above)}, or "
                "`train_split`=. to learn from all that is in "
                f"{printable(data_dir)}"
            )
