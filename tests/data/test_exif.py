"""Orientation in the graph against the reader in Python."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mec_tf.data import exif, headers
from mec_tf.data.sources import folder

in_graph = tf.function(
    exif.orientation, input_signature=[tf.TensorSpec([], tf.string)]
)


def turned_jpeg(orientation, order):
    tags = Image.Exif()
    tags[0x010F] = "a camera"
    tags[0x0112] = orientation
    data = tags.tobytes()
    if order == "big":
        # One entry of one SHORT, by hand: Pillow writes little-endian.
        data = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"
        data += bytes([orientation]) + bytes(6)
    file = io.BytesIO()
    Image.new("RGB", (9, 7)).save(file, "JPEG", exif=data)
    return file.getvalue()


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_are_read(orientation, order):
    file = turned_jpeg(orientation, order)
    assert headers.orientation(file) == orientation
    assert int(in_graph(file)) == orientation


@pytest.mark.parametrize("before", [b"\xff", b"\xff" * 5, b"profile"])
def test_what_stands_before_exif_does_not_hide_it(before, tmp_path):
    file = turned_jpeg(6, "little")
    if before == b"profile":  # Longer than what is read at first.
        before = b"\xff\xe2\xff\xff" + bytes(65533)
        before += b"\xff\xe2\x70\x00" + bytes(0x7000 - 2)
    file = file[:2] + before + file[2:]
    assert Image.open(io.BytesIO(file)).getexif()[0x0112] == 6
    assert int(in_graph(file)) == 6
    (tmp_path / "turned.jpg").write_bytes(file)
    train, _ = folder.find(str(tmp_path), "train", "test")
    np.testing.assert_array_equal(train.orientations, [6])


def test_damaged_headers_read_alike():
    generator = np.random.default_rng(0)
    whole = turned_jpeg(6, "little")
    seen = set()
    for round_ in range(1500):
        file = bytearray(whole)
        for place in generator.integers(0, 100, 3):
            file[place] = generator.integers(0, 256)
        if round_ % 2:
            del file[generator.integers(0, 100) :]
        file = bytes(file)
        assert int(in_graph(file)) == headers.orientation(file), file
        seen.add(headers.orientation(file))
    assert {1, 6} <= seen


@pytest.mark.parametrize("file", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_anything_else_is_upright(file):
    assert int(in_graph(file)) == 1
