"""Commands run as a user runs them: in processes of their own."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_sample_images
from tensorflow.python.framework.config import disable_op_determinism

from benchmarks.torchvision_on_cpu import import_torchvision
from mec_tf.files import atomic
from tests.drills.small_run import SMALL

REPOSITORY = Path(__file__).parents[1]
# Runs many command lines of one main in one process: TensorFlow takes seconds
# to start. Standard input: a JSON list of command lines.
DRIVER = """
import contextlib, importlib, io, json, sys, traceback
from mec_tf.command_line import command
module = importlib.import_module(sys.argv[1])
results = []
for line in json.load(sys.stdin):
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            command.run(module.main, module.CONFIG, line)
        except SystemExit as end:
            code = end.code or 0
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
        except BaseException:
            traceback.print_exc()
            code = -1
    results.append([code, out.getvalue(), err.getvalue()])
json.dump(results, open("results.json", "w"))
"""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def last_line(self):
        return self.err.strip().splitlines()[-1]


def environment():
    return os.environ | {"PYTHONPATH": str(REPOSITORY)}


def left_by_the_dead(path, kind):
    """How a process that has ended called a temporary of a path.

    Args:
        path: `pathlib.Path`.
        kind: `partial` or `former`, see `mec_tf.files.atomic`.
    """
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    name = {"partial": atomic.partial_of, "former": atomic.former_of}[kind](
        path
    )
    return name.with_name(
        name.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-")
    )


def command_line(main, *flags):
    return [sys.executable, "-m", f"mec_tf.{main}", *map(str, flags)]


def pytest_collection_modifyitems(items):
    """Begins with the files that start processes, which take longest.

    Of two at a time, none then goes on alone for minutes at the end.
    """
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(scope="session")
def run_main():
    """Runs `python -m mec_tf.MAIN FLAGS...` in a folder, returns `Ended`."""

    def run(main, *flags, cwd):
        ended = subprocess.run(
            command_line(main, *flags),
            cwd=cwd,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=600,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture(scope="session")
def start_main():
    """Starts a main without waiting for it; returns the `Popen`."""

    def start(main, *flags, cwd):
        return subprocess.Popen(
            command_line(main, *flags),
            cwd=cwd,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="session")
def run_lines():
    """Runs many command lines of one main in one process; `Ended` for each."""

    def run(main, lines, *, cwd):
        driver = subprocess.run(
            [sys.executable, "-c", DRIVER, f"mec_tf.{main}"],
            input=json.dumps([[str(flag) for flag in line] for line in lines]),
            cwd=cwd,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert driver.returncode == 0, driver.stderr
        results = json.loads((Path(cwd) / "results.json").read_text())
        return [Ended(*result) for result in results]

    return run


@pytest.fixture(scope="session")
def small_run(run_main, tmp_path_factory):
    """Folder in which a small run went from digits to an export, undisturbed.

    `runs/small`, `exports/small`, and what it printed (`Ended`).
    """
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.cfg").write_text("\n".join([*SMALL, "--epochs=3"]))
    return folder, run_main("train", "--flagfile=small.cfg", cwd=folder)


@pytest.fixture(scope="session")
def prepared_tfds(tmp_path_factory):
    """Writes {split: [example]} as the builder of that name would."""

    def write(name, splits, shards=3):
        data_dir = str(tmp_path_factory.mktemp("tfds"))
        builder = tfds.builder(name, data_dir=data_dir)
        features = builder.info.features
        infos = []
        for split, examples in splits.items():
            template = tfds.core.ShardedFileTemplate(
                data_dir=builder.data_dir,
                dataset_name=builder.name,
                split=split,
                filetype_suffix="tfrecord",
            )
            lengths = []
            for shard, part in enumerate(np.array_split(examples, shards)):
                path = template.sharded_filepath(
                    shard_index=shard, num_shards=shards
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                with tf.io.TFRecordWriter(str(path)) as writer:
                    for example in part:
                        writer.write(features.serialize_example(example))
                lengths.append(len(part))
            infos.append(
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=lengths,
                    num_bytes=1,
                    filename_template=template,
                )
            )
        builder.info.set_splits(tfds.core.splits.SplitDict(infos))
        builder.info.write_to_directory(builder.data_dir)
        return data_dir

    return write


@pytest.fixture(scope="module")
def deterministic():
    """Deterministic operations for one module of tests.

    They exclude XLA, so they must not outlast it; the public interface cannot
    switch them off.
    """
    tf.config.experimental.enable_op_determinism()
    yield
    disable_op_determinism()


@functools.cache
def sample_photographs():
    """Scikit-learn's two, a temple and a flower: uint8 `[427, 640, 3]`."""
    return load_sample_images().images


def make_photograph(seed, height=150, width=200):
    """A part of a real photograph, made smaller where that is small: uint8."""
    generator = np.random.default_rng(seed)
    photograph = sample_photographs()[seed % 2]
    scale = max(1, 150 / height)
    rows, columns = round(scale * height), round(scale * width)
    top = generator.integers(0, photograph.shape[0] - rows + 1)
    left = generator.integers(0, photograph.shape[1] - columns + 1)
    part = photograph[top : top + rows, left : left + columns]
    return np.asarray(Image.fromarray(part).resize((width, height)))


@pytest.fixture
def photograph():
    return make_photograph


@pytest.fixture(scope="session")
def torchvision():
    """PyTorch's networks, beside TensorFlow in one process."""
    # PyTorch's optimizers import triton where it is installed, whose copy of
    # LLVM crashes beside TensorFlow's.
    sys.modules.setdefault("triton", None)
    pytest.importorskip("torch")
    return import_torchvision()
