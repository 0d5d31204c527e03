"""What a listing needs of the first bytes of a file."""

from typing import NamedTuple

from mec_tf.data import headers


class FileHead(NamedTuple):
    """What the first bytes of a file show.

    Attributes:
        orientation: Exif's, 1 (upright) to 8; 0 where it is no image.
        is_sixteen_bit: whether the image has more bits than are read.
        objection: why it cannot be read; else None.
        unread: an image's format that is not read; else None.
        is_text: whether it may be a text; None where there is nothing to read.
    """

    orientation: int
    is_sixteen_bit: bool = False
    objection: str | None = None
    unread: str | None = None
    is_text: bool | None = None


def look(path: str) -> FileHead:
    """Reads a file's head; a file that cannot be opened is objected to."""
    try:
        with open(path, "rb", buffering=0) as file:
            header = more = file.read(headers.LENGTH)
            while (
                more and (missing := headers.wanted(header) - len(header)) > 0
            ):
                more = file.read(missing)
                header += more
    except OSError as error:
        return FileHead(0, objection=error.strerror or str(error))
    objection = headers.objection(header)
    if objection is None:
        return FileHead(
            headers.orientation(header), headers.is_sixteen_bit(header)
        )
    return FileHead(
        0,
        objection=objection,
        unread=headers.unread(header),
        is_text=b"\0" not in header,
    )
