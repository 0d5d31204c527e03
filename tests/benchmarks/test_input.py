"""The input benchmark measures every part, and reads its own figures right."""

import numpy as np
from PIL import Image

from benchmarks import input as benchmark
from benchmarks import pillow_loader
from mec_tf.augment.policy import preset
from mec_tf.data import sources


def _write_images(folder, count):
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, [40, 60, 3], np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")


def test_measures_every_part(tmp_path):
    _write_images(tmp_path, 4)
    source = sources.load("folder", data_dir=str(tmp_path)).pretrain
    policy = preset("byol", image_size=32)
    results, memory = benchmark.measure(
        source, policy, batch_size=2, batches=1, rounds=2, workers=1
    )
    assert list(results) == ["reference", "host", "device", "both"]
    for rounds in results.values():
        assert len(rounds) == 2
        assert all(speed > 0 and cost > 0 for speed, cost in rounds)
    # Of batches of 2: the first, and twice 1 and 4 that settle, per round.
    assert [images for images, _ in memory] == [42, 62]
    assert all(2**26 < held < 2**37 for _, held in memory)


def test_report_names_the_bottleneck():
    results = {
        "reference": [(100.0, 20.0), (50.0, 24.0), (100.0, 20.0)],
        "host": [(300.0, 5.0), (150.0, 6.0), (330.0, 4.0)],
        "device": [(600.0, 2.0), (600.0, 2.0), (600.0, 2.0)],
        "both": [(200.0, 8.0), (100.0, 8.0), (210.0, 10.0)],
    }
    lines = benchmark.report(results, target=1500)
    table = {line.split()[0]: line.split()[1:] for line in lines[1:5]}
    assert table["host"] == ["300", "3.00x", "5.00", "4.00x"]
    assert table["both"] == ["200", "2.00x", "8.00", "2.50x"]
    assert "host part is the bottleneck" in lines[5]
    assert "1,500 images/s from 7.5 such cores" in lines[5]


def test_reference_makes_two_normalised_views(tmp_path):
    _write_images(tmp_path, 1)
    views = pillow_loader.load_views(tmp_path / "0.jpg", size=48)
    assert len(views) == 2
    for view in views:
        assert view.shape == (48, 48, 3) and view.dtype == np.float32
        assert -2.2 < view.min() < view.max() < 2.7
