import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import loss, timing


def test_all_contenders_compute_the_same_loss():
    z = tf.random.stateless_normal([12, 7], [1, 2])
    losses = {name: f(z, z + 1) for name, f in loss.LOSSES.items()}
    exact = losses.pop("exact")
    np.testing.assert_allclose(
        list(losses.values()), losses["algorithm 1"], rtol=1e-5
    )
    assert abs(exact - losses["auto"]) > 0


@pytest.mark.parametrize(("m", "d"), [(8, 16), (16, 8)])
def test_auto_takes_the_side_with_fewer_products(m, d):
    sides = [loss.products(name, m, d) for name in ("batch", "feature")]
    assert loss.products("auto", m, d) == min(sides)


def test_prints_a_row_per_size(capsys):
    loss.main(["--rows=8", "--dims=4,16", "--rounds=1", "--memory="])
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split("|")[1:3] for row in rows] == [
        [" 8 ", " 4 "],
        [" 8 ", " 16 "],
    ]


def test_draws_figure_6(tmp_path, capsys):
    picture = tmp_path / "error.png"
    arguments = ["--figure6_dims=8,16", "--rounds=1"]
    loss.main([f"--figure6={picture}", *arguments])
    assert picture.read_bytes().startswith(b"\x89PNG")
    errors = [
        [float(cell.strip(" %")) for cell in row.split("|")[2:5]]
        for row in capsys.readouterr().out.splitlines()[-2:]
    ]
    assert np.all(np.isfinite(errors))


def test_turns_are_interleaved():
    calls = []

    def call(name):
        return lambda: calls.append(name) or tf.zeros([])

    times = timing.interleaved({"a": call("a"), "b": call("b")}, rounds=2)
    assert "".join(calls) == "ababab"
    assert set(times) == {"a", "b"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_of_memory_holds_the_result():
    # In a process of its own: what other tests' threads give back meanwhile
    # would count.
    size = 64 * 2**20
    measured = subprocess.run(
        [sys.executable, "-c", PEAK_OF_ONES, str(size // 4)],
        text=True,
        capture_output=True,
    )
    assert measured.returncode == 0, measured.stderr
    assert 0.9 * size <= int(measured.stdout) <= 1.5 * size


PEAK_OF_ONES = """
import sys
import tensorflow as tf
from benchmarks import timing

tf.ones([1])  # which starts the device
print(timing.peak_bytes(lambda: tf.ones([int(sys.argv[1])])))
"""
