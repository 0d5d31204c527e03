"""`evaluate` from Python: the same JSON, and nothing is left behind."""

import json
import random
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import environment
from tensorflow.python.framework import config as framework

from mec_tf.config import EvaluateConfig
from mec_tf.errors import UserError
from mec_tf.evaluations.run import evaluate

KNN = {"dataset": "digits", "image_size": 8}
LINEAR = KNN | {
    "protocol": "linear",
    "encoder": "random:resnet_tiny",
    "label_fraction": 0.1,
    "epochs": 2,
    "batch_size": 64,
    "head_lr": (0.1, 1.0),
}


def flags_of(settings):
    texts = {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in settings.items()
    }
    return [f"--{name}={value}" for name, value in texts.items()]


def timeless(result):
    rows = [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in result["results"]
    ]
    return result | {"seconds": None, "results": rows}


def process_state():
    return (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        keras.config.dtype_policy().name,
        framework.is_op_determinism_enabled(),
        [signal.getsignal(number) for number in signal.valid_signals()],
    )


def test_it_is_the_command_line_s(run_lines, tmp_path, monkeypatch):
    knn = KNN | {"encoder": "pixels", "output": "knn.json"}
    linear = LINEAR | {"output": "linear.json", "workdir": "a"}
    ended = run_lines(
        "evaluate", [flags_of(knn), flags_of(linear)], cwd=tmp_path
    )
    assert [one.code for one in ended] == [0, 0], ended
    monkeypatch.chdir(tmp_path)
    before = process_state()
    for settings in (knn, linear | {"workdir": "b"}):
        written = json.loads((tmp_path / settings["output"]).read_text())
        found = evaluate(EvaluateConfig(**settings))
        again = json.loads((tmp_path / settings["output"]).read_text())
        assert found == again
        written["flags"]["workdir"] = found["flags"]["workdir"]
        assert timeless(found) == timeless(written)
    assert process_state() == before


def test_without_a_place_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = EvaluateConfig(encoder="pixels", **KNN)
    once, twice = evaluate(config), evaluate(config)
    assert timeless(once) == timeless(twice)
    assert once["top1"] > 0.9
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_a_mistake_gives_the_process_back(tmp_path):
    before = process_state()
    with pytest.raises(UserError, match="encoder"):
        evaluate(EvaluateConfig(encoder=tmp_path / "none", **KNN))
    assert process_state() == before


REPLICAS = """
import json, sys
from mec_tf.distribution import strategies
strategies.split_cpu(2)
import tensorflow as tf
from mec_tf.config import EvaluateConfig
from mec_tf.evaluations.run import evaluate
found = []
for settings in json.loads(sys.argv[1]):
    config = EvaluateConfig(**settings)
    with strategies.get_strategy("mirrored").scope() as strategy:
        inside = evaluate(config)
        assert tf.distribute.get_strategy() is strategy
    found.append([inside, evaluate(config.replace(strategy="mirrored"))])
print(json.dumps(found))
"""


def test_the_strategy_in_scope_is_used():
    knn = KNN | {"encoder": "random:resnet_tiny", "label_fraction": 0.2}
    odd = LINEAR | {"batch_size": 33}
    ended = subprocess.run(
        [sys.executable, "-c", REPLICAS, json.dumps([knn, odd])],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    for inside, outside in json.loads(ended.stdout):
        inside["flags"]["strategy"] = "mirrored"
        assert timeless(inside) == timeless(outside)
    # 33 images are cut to what two replicas share.
    assert inside["results"][0]["batch_size"] == 32
