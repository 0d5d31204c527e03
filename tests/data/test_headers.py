"""A file's first bytes tell what it is, and what is no image."""

import struct

import pytest

from mec_tf.data import headers


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("JPEG", "JPEG"),
        ("PNG", "PNG"),
        ("GIF", "GIF"),
        ("BMP", "BMP"),
        ("WEBP", "WebP"),
    ],
)
def test_names_what_it_can_read(photograph, encoded, kind, name):
    header = encoded(photograph(0), kind)[: headers.LENGTH]
    assert headers.kind(header) == name
    assert headers.objection(header) is None
    assert headers.orientation(header) == 1


def test_objects_with_a_reason(photograph, encoded):
    pixels = photograph(0)
    assert headers.objection(b"") == "the file is empty"
    assert "begins with b'hello'" in headers.objection(b"hello")
    assert "TIFF" in headers.objection(encoded(pixels, "TIFF"))
    assert "HEIC" in headers.objection(b"\0\0\0\x18ftypheic")
    palette = encoded(pixels, "BMP", "P")[: headers.LENGTH]
    assert "palette" in headers.objection(palette)
    assert headers.objection(encoded(pixels, "BMP", "L")) is None


@pytest.mark.parametrize(
    ("kind", "name"),
    [("TIFF", "TIFF"), ("PPM", "PNM"), ("JPEG2000", "JPEG 2000")],
)
def test_names_what_it_does_not_read(photograph, encoded, kind, name):
    assert headers.unread(encoded(photograph(0), kind)[:4096]) == name


def test_a_film_or_a_text_is_no_image():
    assert headers.unread(b"\0\0\0\x18ftypavif") == "AVIF"
    for other in (b"\0\0\0\x18ftypmp42", b"BMW, Audi", b"P5 is a name", b""):
        assert headers.kind(other) is None and headers.unread(other) is None


def _jpeg_with_exif(exif):
    body = b"Exif\0\0" + exif
    length = struct.pack(">H", len(body) + 2)
    return b"\xff\xd8\xff\xe0\0\x04ab\xff\xe1" + length + body


@pytest.mark.parametrize("order", ["<", ">"])
def test_reads_both_byte_orders_behind_another_segment(order):
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0)
    other = struct.pack(order + "HHIHH", 0x0100, 3, 1, 9, 0)
    count = struct.pack(order + "H", 2)
    exif = mark + struct.pack(order + "I", 8) + count + other + entry
    assert headers.orientation(_jpeg_with_exif(exif)) == 6
    for length in range(len(exif)):
        assert headers.orientation(_jpeg_with_exif(exif[:length])) in (1, 6)
