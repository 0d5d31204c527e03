"""docs/data.md quotes what is printed, all of it and nothing else."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mec_tf.data import sources
from mec_tf.errors import UserError

PAGE = Path(__file__).parents[2] / "docs/data.md"


def _bytes(kind, pixels=None):
    if pixels is None:
        pixels = np.zeros([8, 8, 3], np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


JPEG, TGA, TIFF = (_bytes(kind) for kind in ("JPEG", "TGA", "TIFF"))
PGM = _bytes("PPM", np.zeros([8, 8], np.uint8))
DEEP = _bytes("PNG", np.zeros([8, 8], np.uint16))


def _some(where, count=4, data=JPEG, suffix=".jpg"):
    return {f"{where}{k}{suffix}": data for k in range(count)}


def _classes(where="", count=4, names=("bus", "car")):
    files = {}
    for name in names:
        files |= _some(f"{where}{name}/", count)
    return files


SPLITS = _classes("train/") | _classes("test/")
# (files, flags) of each line that the page quotes, in its order.
CASES = [
    (_classes("EuroSAT/"), {}),
    (_classes("data/train/") | _classes("data/test/"), {}),
    (_classes("Train/") | _classes("Test/"), {}),
    (_classes("training/") | _classes("val/"), {}),
    (SPLITS | _classes("val/"), {}),
    (SPLITS | _some("unlabeled/"), {}),
    (_classes("Train/") | _classes("train/"), {}),
    (SPLITS | _classes("testing/"), {}),
    (_classes() | _some("train/"), {}),
    (_classes("test/"), {}),
    (_some("cat/train/") | _some("cat/test/") | _some("dog/"), {}),
    (_some("check/"), {"train_split": ".", "test_split": "check"}),
    (_classes(), {"train_split": "learn"}),
    (_classes("train/") | _some("", 20), {}),
    (_classes(count=20) | {"cover.jpg": JPEG}, {}),
    (SPLITS | {"cover.jpg": JPEG}, {}),
    (_classes(count=20) | _some("", 20), {}),
    (_classes("train/") | _some("test/"), {}),
    (_classes("train/") | _classes("test/", names=("Bus", "car")), {}),
    (_classes(count=3) | _some("bus/", 2, DEEP, ".png"), {}),
    (
        _classes()
        | _some("bus/", 2, PGM, ".pgm")
        | _some("car/", 2, TGA, ".tga"),
        {},
    ),
    (_classes() | {"bus/depth.npy": b"\x93NUMPY\1\0"}, {}),
    (_classes() | _some("bus/", 9, TIFF, ".tif"), {}),
    (_classes() | {"bus/empty.jpg": b""}, {}),
    (_classes() | {"bus/text.jpg": b"hello, world"}, {}),
    (_some("", 96) | _some("no", 24, b""), {}),
    (_classes() | {"labels.csv": b"a,b", "LICENSE": b"Free."}, {}),
]


def _quoted():
    blocks = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture
def printed(tmp_path, monkeypatch, caplog):
    """What is said of files that lie in the folder `photos`."""

    def lines(case, files, flags):
        place = tmp_path / str(case)
        for name, data in files.items():
            path = place / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        monkeypatch.chdir(place)
        caplog.clear()
        said = []
        try:
            splits = sources.load("folder", data_dir="photos", **flags)
            said = [splits.pretrain.description]
        except UserError as error:
            said = [re.sub(r"`(\w+)`", r"--\1", str(error))]
        except ValueError as error:
            said = [str(error)]
        return caplog.messages + said

    return lines


def test_every_line_of_the_page_is_printed(printed):
    quoted = _quoted()
    for case, ((files, flags), line) in enumerate(
        zip(CASES, quoted, strict=True)
    ):
        assert line in printed(case, files, flags)


def test_every_hint_and_refusal_is_on_the_page(printed):
    quoted = set(_quoted())
    for case, (files, flags) in enumerate(CASES):
        said = printed(case, files, flags)
        for line in said:
            described = re.match(r"\S+ \(\d+ images\)$", line)
            named = re.match(r"Skipped photos/no\d+.jpg: ", line)
            assert line in quoted or described or named, line
