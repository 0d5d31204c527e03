"""Every flagfile parses, says what it reproduces, and runs a step."""

import re
import shutil

import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image

FLAGFILES = sorted((REPOSITORY / "flags").glob("*.cfg"))
SCORING = [
    path
    for path in FLAGFILES
    if path.stem.startswith(("linear", "semi", "transfer"))
]
TRAINING = [path for path in FLAGFILES if path not in SCORING]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flagfiles")
    shutil.copytree(REPOSITORY / "flags", folder / "flags")
    return folder


@pytest.mark.parametrize("path", FLAGFILES, ids=lambda path: path.stem)
def test_its_head_says_what_it_is(path):
    lines = path.read_text().splitlines()
    head = [line for line in lines[:20] if line.startswith("#")]
    text = "\n".join(head)
    assert len(head) >= 4
    main = "evaluate" if path in SCORING else "train"
    command = re.sub(r"[#\\\s]+", " ", text)
    assert f"python -m mec_tf.{main} --flagfile=flags/{path.name}" in command
    assert re.search(r"Number|measured", text)
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    ("main", "paths"), [("train", TRAINING), ("evaluate", SCORING)]
)
def test_all_parse(main, paths, place, run_lines):
    lines = [
        [f"--flagfile=flags/{path.name}", "--dataset=folder", "--data_dir=none"]
        for path in paths
    ]
    if main == "evaluate":
        lines = [[*line, "--encoder=random:resnet_tiny"] for line in lines]
    for path, ended in zip(
        paths, run_lines(main, lines, cwd=place), strict=True
    ):
        # Parsed: what stops it is the data that is not there.
        assert (ended.code, "none" in ended.last_line) == (1, True), path.name
        assert "Traceback" not in ended.err


@pytest.mark.parametrize(("name", "squared"), [("012", 0.12), ("001", 0.01)])
def test_figure_4_has_the_distortions_of_its_caption(name, squared):
    text = (REPOSITORY / f"flags/cifar10_eps{name}.cfg").read_text()
    (distortion,) = re.findall(r"^--distortion=(.*)$", text, re.M)
    assert float(distortion) == squared


@pytest.fixture(scope="module")
def prepared(prepared_tfds):
    """Tiny sets under the real builders' names, in TFDS' own format."""
    pixels = np.random.default_rng(0).integers(
        0, 256, [9, 256, 256, 3], np.uint8
    )

    def examples(count, **extra):
        return [
            {"image": pixels[k], "label": k % 10}
            | {name: value.format(k) for name, value in extra.items()}
            for k in range(count)
        ]

    small = [e | {"image": e["image"][:32, :32]} for e in examples(9, id="{}")]
    return {
        "imagenet": prepared_tfds(
            "imagenet2012",
            {
                name: examples(9, file_name="{}.JPEG")
                for name in ("train", "validation")
            },
        ),
        "places365": prepared_tfds(
            "places365_small",
            {
                name: examples(9, filename="{}.jpg")
                for name in ("train", "validation", "test")
            },
        ),
        "cifar10": prepared_tfds("cifar10", {"train": small, "test": small}),
    }


def test_one_of_each_family_runs_dry(place, prepared, run_lines):
    images = place / "images"
    images.mkdir()
    for k in range(9):
        Image.new("RGB", (40, 40), (20 * k, 0, 0)).save(images / f"{k}.jpg")
    lines = {
        "digits": [],
        "folder": [f"--data_dir={images}", "--batch_size=8"],
    }
    for name in ("cifar10", "imagenet", "places365"):
        # A ResNet-50 takes half a minute to trace; others' tests train one.
        lines[name] = [
            f"--data_dir={prepared[name]}",
            "--batch_size=8",
            "--backbone=resnet_tiny",
        ]
    before = sorted(place.rglob("*"))
    results = run_lines(
        "train",
        [
            [f"--flagfile=flags/{name}.cfg", "--dry_run", *flags]
            for name, flags in lines.items()
        ],
        cwd=place,
    )
    for name, ended in zip(lines, results, strict=True):
        assert ended.code == 0, f"{name}: {ended.err}"
        loss = re.search(r"loss of one step on 4 images +(\S+)", ended.out)
        assert np.isfinite(float(loss[1])), name
    left = set(place.rglob("*")) - set(before)
    assert {path.name for path in left} <= {"results.json"}
