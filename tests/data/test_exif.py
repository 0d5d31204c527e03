"""Orientation in the graph against the reader in Python."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mec_tf.data import exif, headers

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
