"""Decoding agrees with Pillow's `convert("RGB")` for every kind of file."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from mec_tf.data import decode, headers


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", None, {}),
        ("JPEG", None, {"progressive": True}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "L", {}),
        ("PNG", None, {}),
        ("PNG", "RGBA", {}),
        ("PNG", "LA", {}),
        ("PNG", "P", {}),
        ("PNG", "1", {}),
        ("BMP", None, {}),
        ("BMP", "RGBA", {}),
        ("BMP", "L", {}),
        ("GIF", "P", {}),
        ("WEBP", None, {"lossless": True}),
        ("WEBP", "RGBA", {"lossless": True}),
    ],
)
def test_equals_pillow(photograph, encoded, kind, mode, options):
    data = encoded(photograph(0), kind, mode, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    image = decode.decode(tf.constant(data)).numpy()
    assert image.dtype == np.uint8
    difference = np.abs(image.astype(int) - expected)
    # Two builds of libjpeg round differently; the others are exact.
    assert difference.mean() <= (1.0 if kind == "JPEG" else 0.0)


def test_sixteen_bits_keep_their_upper_eight(encoded):
    ramp = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    image = decode.decode(tf.constant(encoded(ramp, "PNG"))).numpy()
    np.testing.assert_array_equal(image[..., 1], ramp >> 8)


def test_of_two_pictures_in_a_file_the_first_is_read(photograph, encoded):
    later = Image.fromarray(photograph(2))
    pair = encoded(photograph(1), "MPO", save_all=True, append_images=[later])
    alone = decode.decode(tf.constant(encoded(photograph(1))))
    image = decode.decode(tf.constant(pair)).numpy()
    assert np.abs(image.astype(int) - alone.numpy()).mean() <= 1.0


def test_a_photograph_of_12_megapixels_is_read(encoded):
    data = tf.constant(encoded(np.full([3000, 4000, 3], 90, np.uint8)))
    window = decode.decode_jpeg_window(data, [2900, 3900, 100, 100])
    np.testing.assert_array_equal(decode.jpeg_shape(data), [3000, 4000])
    assert window.shape == (100, 100, 3) and int(window[0, 0, 0]) == 90
    assert decode.decode(data).shape == (3000, 4000, 3)


def test_a_header_that_claims_gigabytes_is_an_error(photograph, encoded):
    data = bytearray(encoded(photograph(0), "PNG"))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode.decode(tf.constant(bytes(data)))


def test_animation_shows_its_first_frame(photograph, encoded):
    first, second = photograph(1), photograph(2)
    data = encoded(
        first,
        "GIF",
        save_all=True,
        append_images=[Image.fromarray(second)],
    )
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    image = decode.decode(tf.constant(data)).numpy()
    np.testing.assert_array_equal(image, expected)


def test_transparency_is_dropped(photograph, encoded):
    pixels = photograph(3)
    alpha = np.tile(np.arange(200, dtype=np.uint8), [150, 1])
    for kind, options in (
        ("PNG", {}),
        ("WEBP", {"lossless": True, "exact": True}),
    ):
        data = encoded(np.dstack([pixels, alpha]), kind, **options)
        image = decode.decode(tf.constant(data)).numpy()
        np.testing.assert_array_equal(image, pixels)


def test_an_animated_webp_is_refused_by_name(photograph, encoded):
    for mode in ("RGB", "RGBA"):
        later = Image.fromarray(photograph(2)).convert(mode)
        data = encoded(
            photograph(1), "WEBP", mode, save_all=True, append_images=[later]
        )
        header = data[: headers.LENGTH]
        assert "animated WebP" in headers.objection(header)
        # Where no header is looked at first, as in a server's graph.
        with pytest.raises(tf.errors.InvalidArgumentError, match="WebP"):
            decode.decode(tf.constant(data))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"hello, world",
        lambda data: data[: len(data) // 2],
        lambda data: data[:20],
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damage_is_an_error(photograph, encoded, kind, damage):
    data = damage(encoded(photograph(0), kind))
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode.decode(tf.constant(data))


def test_window_of_a_jpeg_equals_the_part_of_the_whole(photograph, encoded):
    data = tf.constant(encoded(photograph(4), quality=90, subsampling=0))
    whole = decode.decode(data)
    np.testing.assert_array_equal(decode.jpeg_shape(data), [150, 200])
    window = [31, 17, 90, 101]
    part = decode.decode_jpeg_window(data, window)
    np.testing.assert_array_equal(part, whole[31:121, 17:118])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_equals_pillow(photograph, encoded, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photograph(5), exif=exif)
    assert headers.orientation(data[: headers.LENGTH]) == orientation
    whole = Image.open(io.BytesIO(data))
    expected = np.asarray(ImageOps.exif_transpose(whole)).astype(int)
    image = decode.upright(decode.decode(tf.constant(data)), orientation)
    assert image.shape == expected.shape
    assert np.abs(image.numpy() - expected).mean() <= 1.0
