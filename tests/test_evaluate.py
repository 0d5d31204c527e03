"""Every protocol as a user runs it: one table, one JSON, one line if not."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

SMALL = (
    "--image_size=16",
    "--dataset=folder",
    "--data_dir=images",
    "--epochs=2",
    "--batch_size=16",
    "--penalties=3",
    "--head_lr=0.5",
)
ALL = ("--encoder=export,random:resnet_tiny", "--encoder=run")
ENCODERS = {
    "knn": ALL,
    "logistic": ALL,
    "linear": ("--encoder=export", "--workdir=probe"),
    "finetune": ("--encoder=run", "--label_fraction=0.25"),
}
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


def write_images(folder, per_class, seed):
    generator = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for k in range(per_class):
            noise = generator.normal(0, 40, [20, 24, 3])
            pixels = np.clip(noise + colour, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}{k}.png")


@pytest.fixture(scope="module")
def place(small_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    source, _ = small_run
    shutil.copytree(source / "exports/small", folder / "export")
    shutil.copytree(source / "runs/small", folder / "run")
    write_images(folder / "images/train", 12, seed=0)
    write_images(folder / "images/test", 5, seed=1)
    return folder


@pytest.fixture(scope="module")
def ended(place, run_lines):
    """All command lines in one process; `Ended` by name."""
    scored = {
        name: [*SMALL, *of, f"--protocol={name}", f"--output={name}.json"]
        for name, of in ENCODERS.items()
    }
    cached = [*SMALL, "--encoder=export", "--feature_cache=cache"]
    files = {
        suffix: [
            *SMALL,
            "--encoder=export",
            "--protocol=features",
            f"--output=features{suffix}",
        ]
        for suffix in (".npy", ".npz", ".parquet")
    }
    lines = {
        **scored,
        **files,
        "cached": cached,
        "cached again": [*cached, "--output=cached.json"],
        "keras file": [
            *SMALL,
            "--encoder=export/encoder.keras",
            "--output=keras.json",
        ],
        "listed": [
            *SMALL,
            "--encoder=export",
            "--split_file=list.txt",
            "--output=listed.json",
        ],
        "one image each": [
            *SMALL,
            "--encoder=export",
            "--protocol=logistic",
            "--label_fraction=0.01",
        ],
        "idle flags": [
            *SMALL,
            "--encoder=export",
            "--validation_fraction=0.3",
            "--output=made/now/idle.json",
        ],
    }
    (place / "list.txt").write_text("red/red3.png\nblue1.png\n\ngreen7.png\n")
    results = run_lines("evaluate", list(lines.values()), cwd=place)
    return dict(zip(lines, results, strict=True))


def read(path):
    return json.loads(path.read_text())


def test_every_protocol_scores_every_encoder(place, ended):
    for protocol, flags in ENCODERS.items():
        assert ended[protocol].code == 0, ended[protocol].err
        result = read(place / f"{protocol}.json")
        names = [row["encoder"] for row in result["results"]]
        assert len(names) == (3 if flags == ALL else 1)
        assert result["protocol"] == protocol
        assert result["flags"]["image_size"] == 16
        assert result["seconds"] > 0
        assert 0 <= result["top1"] == result["results"][0]["top1"] <= 1
        # The workdir's checkpoint and its export are the same encoder.
        if protocol in ("knn", "logistic"):
            assert result["results"][0]["top1"] == result["results"][2]["top1"]
        assert f"scores: {protocol}.json" in ended[protocol].err
        table = [line for line in ended[protocol].out.splitlines() if line]
        assert "peak_lr" not in table[0]
        assert table[0].startswith("encoder ") and len(table) == 1 + len(names)
    # Colours are easy.
    assert read(place / "logistic.json")["results"][1]["top1"] == 1.0
    knn, keras_file = (
        read(place / f"{name}.json") for name in ("knn", "keras")
    )
    assert keras_file["top1"] == knn["top1"]


def test_the_json_says_what_was_done(place, ended):
    linear, finetune, logistic = (
        read(place / f"{name}.json")
        for name in ("linear", "finetune", "logistic")
    )
    (row,) = linear["results"]
    assert (row["batch_size"], row["steps"], row["chosen_on"]) == (
        16,
        4,
        "test",
    )
    assert row["peak_lr"] == 0.5 * 16 / 256
    assert (row["image_size"], row["crop_fraction"]) == (16, 1)
    assert linear["flags"]["crop_fraction"] == 1
    assert linear["flags"]["metric"] == linear["metric"] == "top1"
    assert linear["flags"]["validation_fraction"] == 0
    assert logistic["flags"]["validation_fraction"] == 0.2
    (row,) = finetune["results"]
    assert (row["batch_size"], row["steps"]) == (9, 2)
    told = (
        "9 images per step (cut from 16), 2 steps, peak rates 0.00176, 0.0176"
    )
    assert told in ended["finetune"].err


def test_scores_are_written_without_being_asked(place, ended):
    assert "scores: runs/knn_scores.json" in ended["cached"].err
    knn, found = (
        read(place / name) for name in ("knn.json", "runs/knn_scores.json")
    )
    assert found["top1"] == knn["top1"]
    assert ended["idle flags"].code == 0, ended["idle flags"].err
    assert re.search(
        "--validation_fraction.* no effect on knn", ended["idle flags"].err
    )
    assert (place / "made/now/idle.json").exists()


def test_nothing_to_choose_on_is_one_line(ended):
    assert ended["one image each"].code == 1
    assert re.search(
        "fraction=0.2.*at least 2 images", ended["one image each"].last_line
    )


def test_a_cache_changes_no_score(place, ended):
    assert ended["cached again"].code == 0, ended["cached again"].err
    assert len(list((place / "cache").iterdir())) == 2  # splits
    knn, cached = read(place / "knn.json"), read(place / "cached.json")
    assert cached["top1"] == knn["top1"]


def test_parts_of_the_labels(place, ended):
    assert ended["listed"].code == 0, ended["listed"].err
    (row,) = read(place / "finetune.json")["results"]
    assert row["labelled_images"] == 9
    assert "3" in read(place / "listed.json")["train"].split(": ")[-1]


def test_features_become_files(place, ended):
    for suffix in (".npy", ".npz", ".parquet"):
        assert ended[suffix].code == 0, ended[suffix].err
    stored = np.load(place / "features.npz")
    values = np.load(place / "features.npy")
    table = parquet.read_table(place / "features.parquet").to_pydict()
    assert values.shape == (36, 128)
    assert np.array_equal(values, stored["features"])
    assert np.array_equal(values, np.array(table["features"], np.float32))
    rows = (place / "features.csv").read_text().splitlines()[1:]
    columns = ("name", "class", "path")
    assert rows[0].split(",") == [table[key][0] for key in columns]
    assert table["path"][0] == stored["paths"][0] == "train/blue/blue0.png"
    assert table["name"][0].endswith(os.path.join("blue", "blue0.png"))
    assert list(stored["labels"][[0, -1]]) == [0, 2]
    for suffix in (".npy", ".npz", ".parquet"):
        metadata = read(place / f"features{suffix}.json")
        assert metadata["results"][0]["images"] == 36
        assert metadata["flags"]["output"] == f"features{suffix}"


def test_names_that_are_not_unicode_lose_no_features(place, run_lines):
    odd = os.fsdecode(b"odd\xff")
    shutil.copytree(place / "images/train", place / "odd")
    os.rename(place / "odd/red", place / "odd" / odd)
    os.rename(place / "odd/blue/blue3.png", place / f"odd/blue/{odd}.png")
    asked = [*SMALL, "--encoder=pixels", "--protocol=features"]
    same = place / "odd/blue/odd\\xff.png"
    (place / "labels.csv").write_text("mine")
    lines = [
        [*asked, "--data_dir=odd", f"--output=odd{suffix}"]
        for suffix in (".npy", ".npz", ".parquet")
    ]
    lines += [
        [*SMALL, "--encoder=pixels", "--data_dir=odd", "--output=odd.json"],
        [*asked, "--output=labels.npy"],
    ]
    *ended, refused = run_lines("evaluate", lines, cwd=place)
    for result in ended:
        assert result.code == 0, result.err
    names = parquet.read_table(place / "odd.parquet")["path"].to_pylist()
    assert "blue/odd\\xff.png" in names and len(names) == 36
    assert list(np.load(place / "odd.npz")["paths"]) == names
    assert refused.code == 1 and "--output" in refused.last_line
    assert (place / "labels.csv").read_text() == "mine"
    # A name that would be written as another's is refused before.
    shutil.copy(place / "images/train/blue/blue3.png", same)
    (ended,) = run_lines("evaluate", lines[2:3], cwd=place)
    assert ended.code == 1 and "odd\\xff.png" in ended.last_line


MISTAKES = {
    "pixels cannot be tuned": (
        ["--encoder=export,pixels", "--protocol=finetune"],
        "pixels has no weights",
    ),
    "two heads": (
        ["--encoder=export", "--protocol=finetune", "--head_lr=1,2"],
        "one head",
    ),
    "unknown images": (
        ["--encoder=export", "--split_file=wrong.txt"],
        "wrong.txt names 2 unknown images of 3: n1.JPEG, n2.JPEG",
    ),
    "ambiguous images": (
        ["--encoder=export", "--split_file=twice.txt", "--data_dir=twice"],
        "1 ambiguous images of 1: 0.png",
    ),
    "no list": (
        ["--encoder=export", "--split_file=gone.txt"],
        "gone.txt",
    ),
    "classes differ": (
        ["--encoder=export", "--data_dir=uneven"],
        "3 in .*, 2 in .*blue only in one",
    ),
    "another class in the test": (
        ["--encoder=export", "--data_dir=more"],
        "differ in their classes.*violet",
    ),
    "metric of sets": (
        ["--encoder=export", "--metric=map11"],
        "map11.*is of one class",
    ),
    "no name": (["--encoder=export,"], "export, holds an empty name"),
    "into a file": (
        ["--encoder=export", "--output=list.txt/a.json"],
        "list.txt/a.json cannot be written",
    ),
    "onto a folder": (["--encoder=export", "--output=run"], "run is a folder"),
    "nothing chooses": (
        [
            "--encoder=export",
            "--protocol=logistic",
            "--validation_fraction=0",
        ],
        "validation_fraction=0: logistic",
    ),
    "where to": (["--encoder=export", "--protocol=features"], "--output"),
    "as what": (
        ["--encoder=export", "--protocol=features", "--output=a.csv"],
        "a.csv: features are written as one of",
    ),
    "unknown set": (
        ["--encoder=export", "--protocol=transfer", "--sets=imagenet"],
        "imagenet is not in the suite.*food101",
    ),
    "no set is there": (
        ["--encoder=export", "--protocol=transfer", "--data_dir=nothing"],
        "11 of 11 sets",
    ),
    "other flags in the workdir": (
        ["--encoder=export", "--protocol=linear", "--workdir=run"],
        "--workdir=run holds a run of pretraining",
    ),
}


def test_mistakes_get_one_line(place, run_lines):
    (place / "wrong.txt").write_text("red0.png\nn1.JPEG\nn2.JPEG\n")
    (place / "twice.txt").write_text("0.png\n")
    for name in ("twice/train/a", "twice/train/b", "twice/test/a"):
        (place / name).mkdir(parents=True)
        for k in range(2):
            shutil.copy(
                place / "images/train/red/red0.png", place / name / f"{k}.png"
            )
    shutil.copytree(place / "twice/test/a", place / "twice/test/b")
    shutil.copytree(place / "images", place / "uneven")
    shutil.rmtree(place / "uneven/test/blue")
    shutil.copytree(place / "images", place / "more")
    shutil.copytree(place / "more/test/red", place / "more/test/violet")
    results = run_lines(
        "evaluate",
        [[*SMALL, *line] for line, _ in MISTAKES.values()],
        cwd=place,
    )
    for (name, case), result in zip(MISTAKES.items(), results, strict=True):
        assert result.code == 1, (name, result.err)
        assert re.search(case[1], result.last_line), (name, result.last_line)
        assert "Traceback" not in result.err, name
