"""Names that somewhere mean something else: each a folder like any other."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL
from PIL import Image

from mec_tf.errors import UserError
from mec_tf.files.literal_paths import is_pattern, literal
from mec_tf.plots.curves import draw_curves
from mec_tf.training.checkpoint import Checkpoints, restore_part

NAMES = [
    "lr[0.3]",
    "[!x]",
    "a*b",
    "what?",
    "two words",
    "n#1",
    "größe",
    "{a,b}",
    "back\\slash",
    "%41",
    "$x$",
    "~home",
]
# All at once, for what takes long.
ODD = "lr[0.3] *?#é,\\{x,y}$z$"


@pytest.mark.parametrize("others", [(), ("lr0", "y", "axb", "whatx")])
@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_read_where_it_was_written(tmp_path, name, others):
    # With others a pattern finds something: the wrong thing.
    for k, folder in enumerate((*others, name), start=4 - len(others)):
        weight = tf.Variable(float(k))
        Checkpoints(tmp_path / folder, max_to_keep=1, w=weight).save(7)
    again = tf.Variable(-1.0)
    checkpoints = Checkpoints(tmp_path / name, max_to_keep=1, w=again)
    assert checkpoints.restore() == (7, [])
    assert again.numpy() == 4.0
    again.assign(-1.0)
    assert restore_part(tmp_path / name, w=again) == 7
    assert again.numpy() == 4.0


def test_a_relative_path_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("[x]")
    (tmp_path / "[x]/file").write_text("here")
    with literal(tmp_path.__class__("[x]")) as place:
        assert not is_pattern(place)
        assert (place / "file").read_text() == "here"
    assert not place.exists()
    assert (tmp_path / "[x]/file").exists()


def test_without_a_place_for_links_one_line_says_so(tmp_path, monkeypatch):
    (tmp_path / "[x]").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "[x]"))
    with pytest.raises(UserError, match="TMPDIR"), literal(tmp_path / "[x]"):
        pass


def test_curves_of_runs_with_odd_names(tmp_path):
    row = {"epoch": "1", "loss": "1"}
    draw_curves({"$x_": [row], "a$^$b": [row]}, tmp_path / "[x].png")
    assert Image.open(tmp_path / "[x].png").format == "PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["[x].png"]


@pytest.fixture(scope="module")
def place(small_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / ODD
    source, _ = small_run
    shutil.copytree(source / "exports/small", folder / f"e/{ODD}")
    shutil.copytree(source / "runs/small", folder / f"r/{ODD}")
    flags = folder / f"r/{ODD}/flags.cfg"
    text = flags.read_text()
    assert "--export_dir=exports/small\n" in text
    flags.write_text(text.replace("=exports/small\n", f"=n/{ODD}\n"))
    generator = np.random.default_rng(0)
    for split in (f"train{ODD}", f"test{ODD}"):
        for name in ("a[0]", "b"):
            (folder / f"d/{ODD}/{split}/{name}").mkdir(parents=True)
            for k in range(6):
                pixels = generator.integers(0, 255, [8, 8, 3], np.uint8)
                Image.fromarray(pixels).save(
                    folder / f"d/{ODD}/{split}/{name}/{k}[x]?.png"
                )
    return folder


def test_a_run_goes_on_and_is_exported(place, run_lines):
    flags = [*SMALL, "--epochs=3", f"--workdir=r/{ODD}"]
    flags.append(f"--export_dir=n/{ODD}")
    (ended,) = run_lines("train", [flags], cwd=place)
    assert ended.code == 0, ended.err
    assert "going on from step" in ended.err
    # TensorFlow alone would not find it: that is said.
    assert f"n/{ODD}" in ended.err
    with literal(place / f"n/{ODD}") as folder:
        one = tf.saved_model.load(str(folder)).variables
    with literal(place / f"e/{ODD}") as folder:
        other = tf.saved_model.load(str(folder)).variables
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_main_takes_it(place, run_lines):
    data = [
        "--dataset=folder",
        f"--data_dir=d/{ODD}",
        f"--train_split=train{ODD}",
        f"--test_split=test{ODD}",
        f"--feature_cache=c/{ODD}",
        "--image_size=8",
    ]
    # A name with commas, alone and in a list.
    encoders = [f"e/{ODD}", f"r/{ODD}", f"e/{ODD}/encoder.keras"]
    lines = [
        [
            *data,
            f"--encoder={','.join([*encoders, 'pixels'])}",
            f"--output=o/{ODD}/s[0].json",
        ],
        [
            *data,
            f"--encoder=e/{ODD}",
            "--protocol=features",
            f"--output=o/{ODD}/f[0].npy",
        ],
    ]
    scored, written = run_lines("evaluate", lines, cwd=place)
    assert scored.code == 0, scored.err
    rows = json.loads((place / f"o/{ODD}/s[0].json").read_text())["results"]
    assert [row["encoder"] for row in rows] == [*encoders, "pixels"]
    assert len({row["top1"] for row in rows[:3]}) == 1
    assert written.code == 0, written.err
    assert np.load(place / f"o/{ODD}/f[0].npy").shape[0] == 12
    exported = run_lines(
        "export",
        [[f"--workdir=r/{ODD}"], [f"--encoder=e/{ODD}", "--format=keras"]],
        cwd=place,
    )
    for ended in exported:
        assert ended.code == 0, ended.err
    assert (place / f"exports/{ODD}/saved_model.pb").exists()
    assert (place / f"exports/{ODD}_keras/encoder.keras").exists()
    (drawn,) = run_lines("report", [[f"--workdir=r/{ODD}"]], cwd=place)
    assert drawn.code == 0, drawn.err
    assert (place / f"r/{ODD}/figures/curves.png").exists()
