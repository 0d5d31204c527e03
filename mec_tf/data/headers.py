"""The format and orientation of an image, from the first bytes of its file."""

import re
import struct

# Enough for the orientation tag, where Exif is the first segment, as it should
# be, and the tag stands at its start, as usual.
LENGTH = 4096
_EXIF = 1024

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
)
# Images that are not read, and what is taken for images.
_FOREIGN = (
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"v/1\x01", "OpenEXR"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"<svg", "SVG"),
    (b"%PDF", "PDF"),
)
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_AVIF = (b"avif", b"avis")
_PNM = re.compile(rb"P[1-7]\s+[#\dW]|P[Ff]\s+\d")
# A BMP's second header tells its own length; "BM" alone may begin a text.
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_ORIENTATION_TAG = 0x0112


def kind(header):
    """Returns "JPEG", "PNG", "GIF", "BMP" or "WebP", or None.

    Args:
        header: the file's first bytes, up to `LENGTH` of them.
    """
    if header[:4] == b"RIFF" and header[8:12] == b"WEBP":
        return "WebP"
    for signature, name in _SIGNATURES:
        if header.startswith(signature):
            return name
    if header[:2] == b"BM" and _number("<I", header, 14) in _BMP_HEADERS:
        return "BMP"
    return None


def unread(header):
    """Names the format of an image that is whole but not read, or None.

    Such as "TIFF", "animated WebP" or "BMP with a palette".

    Args:
        header: the file's first bytes, up to `LENGTH` of them.
    """
    return _unread(header, kind(header))


def _unread(header, found):
    if found == "BMP":
        return _unread_bmp(header)
    # TensorFlow's decoder writes beyond its memory (`decode.py`).
    is_extended = found == "WebP" and header[12:16] == b"VP8X"
    if is_extended and _number("B", header, 20) & 2:
        return "animated WebP"
    if found is not None:
        return None
    for mark, name in _FOREIGN:
        if header.startswith(mark):
            return name
    if header[4:8] == b"ftyp" and header[8:12] in _HEIC:
        return "HEIC"
    if header[4:8] == b"ftyp" and header[8:12] in _AVIF:
        return "AVIF"
    if header[128:132] == b"DICM":
        return "DICOM"
    return "PNM" if _PNM.match(header) else None


def objection(header):
    """The reason why a file cannot be read as an image, or None.

    Args:
        header: the file's first bytes, up to `LENGTH` of them.
    """
    if not header:
        return "the file is empty"
    found = kind(header)
    name = _unread(header, found)
    if name:
        return f"{name} is not read; convert it to JPEG or PNG"
    if found:
        return None
    return f"not an image; it begins with {header[:12]!r}"


def is_sixteen_bit(header):
    """Whether it is a PNG of 16 bits per channel, of which 8 are read.

    Args:
        header: the file's first bytes, up to `LENGTH` of them.
    """
    return header[24:25] == b"\x10" and kind(header) == "PNG"


def orientation(header):
    """Returns the Exif orientation of a JPEG, 1 (upright) to 8; else 1.

    Args:
        header: the file's first bytes, up to `LENGTH` of them.
    """
    if kind(header) != "JPEG":
        return 1
    at = _last_segment(header)
    if not _is_exif(header, at):
        return 1
    length = _number(">H", header, at + 2)
    return _exif_orientation(header[at + 10 : at + 2 + length])


def wanted(header):
    """How many bytes of a file must be read for its orientation.

    More than `LENGTH` where other segments, such as a large colour profile,
    stand before Exif.
    """
    if kind(header) != "JPEG":
        return 0
    at = _last_segment(header)
    goes_on = at + 4 > len(header) or _is_exif(header, at)
    return at + _EXIF if goes_on else 0


def _last_segment(header):
    """Where Exif begins in a JPEG; or the picture, or what is no segment."""
    at = 2
    while at + 4 <= len(header) and header[at] == 0xFF:
        marker = header[at + 1]
        # 0xDA: the picture itself, with no more segments of interest.
        if marker == 0xDA or _is_exif(header, at):
            break
        # 0xFF: a fill byte.
        at += 1 if marker == 0xFF else 2 + _number(">H", header, at + 2)
    return at


def _is_exif(header, at):
    return (
        header[at : at + 2] == b"\xff\xe1"
        and header[at + 4 : at + 10] == b"Exif\0\0"
    )


def _exif_orientation(exif):
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    at = _number(order + "I", exif, 4)
    entries = _number(order + "H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * entries, 12):
        if _number(order + "H", exif, entry) == _ORIENTATION_TAG:
            value = _number(order + "H", exif, entry + 8)
            return value if 1 <= value <= 8 else 1
    return 1


def _number(layout, data, at):
    """Unpacks one number, 0 beyond the end of a cut-off header."""
    size = struct.calcsize(layout)
    field = data[at : at + size]
    return struct.unpack(layout, field)[0] if len(field) == size else 0


def _unread_bmp(header):
    bits = _number("<H", header, 28)
    if bits in (24, 32):
        return None
    # TensorFlow takes the palette's numbers for grey levels.
    palette_at = 14 + _number("<I", header, 14)
    palette = header[palette_at : palette_at + 1024]
    grey = b"".join(bytes([k, k, k, 0]) for k in range(256))
    if bits == 8 and palette == grey:
        return None
    return "16-bit BMP" if bits == 16 else "BMP with a palette"
