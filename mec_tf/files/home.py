"""Expands `~` and `~user` in paths."""

import os

from mec_tf.errors import UserError


def expanded(text):
    """One path, or several with commas between, with homes written out.

    What begins with no tilde, such as `random:resnet50`, stays as it is.

    Args:
        text: As the user wrote it.

    Raises:
        UserError: If a user has no home here; `./~name` is a folder of that
            name.
    """
    return ",".join(map(_expanded, text.split(",")))


def _expanded(path):
    if not path.startswith("~"):
        return path
    written_out = os.path.expanduser(path)
    if written_out == path:
        user = path.split("/")[0]
        raise UserError(
            f"{user} is no user's home; ./{user} is a folder of that name"
        )
    return written_out
