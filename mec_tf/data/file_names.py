"""File names that are not UTF-8, as text to print or to store.

On Linux a name is bytes, which need not be UTF-8. Python carries such bytes
as lone surrogates, which neither a terminal nor Parquet takes.
"""

import os
import re


def printable(path: str) -> str:
    """A path for one line of a message: whatever would break it is escaped."""
    text = stored(path)
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def stored(path: str) -> str:
    r"""A path as valid Unicode; a name that is UTF-8 stays as it is.

    Bytes that are not UTF-8 become `\xNN`, NN hexadecimal; `original` turns
    them back.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def original(name: str) -> str:
    r"""The path, for `open`, of a name that `stored` wrote with `\xNN`."""
    return os.fsdecode(
        re.sub(
            rb"\\x([0-9a-f]{2})",
            lambda byte: bytes.fromhex(byte[1].decode()),
            name.encode("utf-8"),
        )
    )


def is_unicode(path: str) -> bool:
    """Whether a path can be written as UTF-8."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
