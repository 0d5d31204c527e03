"""Photograph-like images, made here so that the tests need no others."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter


def make_photograph(seed, height=150, width=200):
    """Smooth patches with edges, texture and strong colours: uint8 RGB."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, [6, 8, 3], np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
    patches = generator.integers(0, 256, [9, 12, 3], np.uint8)
    edges = Image.fromarray(patches).resize((width, height), Image.NEAREST)
    image = Image.blend(image, edges, 0.4).filter(ImageFilter.GaussianBlur(1))
    texture = generator.normal(0, 6, [height, width, 1])
    return np.clip(np.asarray(image) + texture, 0, 255).astype(np.uint8)


def encode(pixels, kind="JPEG", mode=None, **options):
    """The bytes of a file that Pillow writes."""
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def photograph():
    return make_photograph


@pytest.fixture
def encoded():
    return encode


@pytest.fixture
def image_folder(tmp_path):
    """Writes {relative path: bytes} into a folder and returns the folder."""

    def write(files, name="images"):
        for path, data in files.items():
            target = tmp_path / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return str(tmp_path / name)

    return write
