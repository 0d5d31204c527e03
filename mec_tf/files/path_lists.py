"""Several paths in one flag, with commas between them."""

from pathlib import Path

from mec_tf.errors import UserError


def split(text, *, field):
    """The paths of a list, of which some may hold commas themselves.

    Args:
        text: Such as `runs/a,runs/b`.
        field: Name of the setting, for the error.

    Returns:
        List of strings. What exists is taken whole: where there is a folder
        `runs/a,b`, its name is not cut.

    Raises:
        UserError: If a name is empty, or if a text may be read either way
            because both a folder of this name and its parts are there.
    """
    parts = text.split(",")
    if not all(parts):
        raise UserError(
            f"`{field}`={text} holds an empty name; expected names with one"
            " comma between them: leave the others out"
        )
    names = []
    while parts:
        for count in range(len(parts), 0, -1):
            name = ",".join(parts[:count])
            if count == 1 or Path(name).exists():
                break
        if count > 1 and all(Path(part).exists() for part in parts[:count]):
            raise UserError(
                f"`{field}`={text} may mean {name} or"
                f" {' and '.join(parts[:count])}, all of which exist; rename"
                f" {name}, or give a link to it"
            )
        names.append(name)
        del parts[:count]
    return names
