"""The suite on tiny sets in TFDS' own format: splits, metrics, one table."""

import json
import re
import shutil

import numpy as np
import pytest

from mec_tf.data import sources
from mec_tf.evaluations.metrics import METRICS
from mec_tf.evaluations.suites import PUBLISHED, SUITES

CLASSES = 20  # of VOC


def voc_example(number):
    """Two classes per image, bright or dark; a third that is difficult."""
    generator = np.random.default_rng(number)
    bright = number % 2
    pixels = generator.integers(0, 100, [24, 32, 3]) + 150 * bright
    sure = [bright, 2 + bright]
    return {
        "image": pixels.astype(np.uint8),
        "image/filename": f"{number:06}.jpg",
        "objects": [],
        "labels": [*sure, 7],
        "labels_no_difficult": sure,
    }


@pytest.fixture(scope="module")
def data_dir(prepared_tfds):
    generator = np.random.default_rng(0)

    def cifar(count):
        return [
            {
                "id": str(k),
                "image": (
                    generator.integers(0, 20, [32, 32, 3]) + 23 * (k % 10)
                ).astype(np.uint8),
                "label": k % 10,
            }
            for k in range(count)
        ]

    folder = prepared_tfds("cifar10", {"train": cifar(60), "test": cifar(20)})
    voc = prepared_tfds(
        "voc/2007",
        {
            "train": [voc_example(k) for k in range(8)],
            "validation": [voc_example(k) for k in range(8, 16)],
            "test": [voc_example(k) for k in range(16, 26)],
        },
    )
    shutil.copytree(voc, folder, dirs_exist_ok=True)
    return folder


def test_labels_are_sets_and_the_difficult_do_not_count(data_dir):
    splits = sources.load(
        "tfds:voc/2007", data_dir=data_dir, train_split="train+validation"
    )
    assert splits.references.multi_label
    expected = np.zeros([16, CLASSES], int)
    for row, name in enumerate(splits.references.names):
        bright = int(name[:6]) % 2
        expected[row, [bright, 2 + bright]] = 1
        expected[row, 7] = -1
    assert np.array_equal(splits.references.labels, expected)


@pytest.fixture(scope="module")
def ended(data_dir, run_lines, tmp_path_factory):
    place = tmp_path_factory.mktemp("transfer")
    common = [
        "--protocol=transfer",
        "--sets=cifar10,voc2007",
        "--encoder=random:resnet_tiny",
        f"--data_dir={data_dir}",
        "--image_size=16",
        "--epochs=3",
        "--penalties=5",
        "--head_lr=1",
    ]
    lines = [
        [*common, f"--transfer_by={by}", f"--output={by}.json"]
        for by in ("linear", "logistic", "finetune")
    ]
    lines.append([*common, "--sets=cifar10,pets"])
    return place, run_lines("evaluate", lines, cwd=place)


def test_each_set_has_its_metric_in_one_row(ended):
    place, (*results, _) = ended
    for by, result in zip(
        ("linear", "logistic", "finetune"), results, strict=True
    ):
        assert result.code == 0, result.err
        written = json.loads((place / f"{by}.json").read_text())
        (row,) = written["table"]
        shares = [row["cifar10 (top1)"], row["voc2007 (map11)"]]
        assert np.isclose(row["mean"], np.mean(shares))
        assert all(0 <= share <= 1 for share in shares)
        head, ours, *theirs = result.out.strip().splitlines()
        assert ours.startswith("random:resnet_tiny")
        assert len(theirs) == len(PUBLISHED["paper"][by])
        assert all("(paper: BYOL, Table 3)" in line for line in theirs)
        first = {"finetune": ["97.8", "85.4"]}.get(by, ["91.3", "82.5"])
        assert re.findall(r"([\d.]+) %", theirs[0])[:2] == first
        assert len(written["published"]) == len(theirs)
        assert "in the literature 50,000 + 10,000" in result.err
    # Brightness is all there is to it.
    logistic = json.loads((place / "logistic.json").read_text())["table"][0]
    assert logistic["voc2007 (map11)"] == 1.0
    assert logistic["cifar10 (top1)"] > 0.5


def test_a_missing_set_is_named_before_anything_is_computed(ended):
    _, (*_, missing) = ended
    assert missing.code == 1
    assert "1 of 2 sets" in missing.last_line
    assert "tfds build oxford_iiit_pet" in missing.last_line


def test_the_paper_s_suite_has_eleven_sets():
    suite = SUITES["paper"]
    assert len({one.name for one in suite}) == len(suite) == 11
    assert {one.metric for one in suite} == set(METRICS)
    for rows in PUBLISHED["paper"].values():
        assert all(len(row.scores) == len(suite) for row in rows)
    for one in suite:
        assert one.dataset.startswith("tfds:")
