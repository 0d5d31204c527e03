"""Image files, written here so that the tests need no others."""

import io

import pytest
from PIL import Image


def encode(pixels, kind="JPEG", mode=None, **options):
    """The bytes of a file that Pillow writes."""
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


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
