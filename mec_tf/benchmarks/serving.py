"""What it costs to serve an exported encoder: size, cold load, images/s.

    python -m mec_tf.benchmarks.serving --backbone=resnet50

Exports an untrained encoder and prints its size on disk; the seconds that a
fresh process takes to load it and to answer its first request; and images per
second on one core and on all, interleaved and with medians, of the live model
and of every way to serve it. `serve_bytes` gets JPEG files of photographs, the
others the same photographs as arrays.
"""

import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import app, flags, logging
from PIL import Image
from sklearn.datasets import load_sample_images

from mec_tf.benchmarks.timing import interleaved
from mec_tf.formats import onnx, origins, saved_model

_BACKBONE = flags.DEFINE_string("backbone", "resnet50", "What to serve.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 8, "Images per request.", lower_bound=1
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 5, "Requests timed of each kind.", lower_bound=1
)
_SECONDS = flags.DEFINE_float(
    "seconds", 60.0, "No further round begins after this time."
)
_THREADS = flags.DEFINE_integer(
    "threads", 1, "Cores to compute on; 0: all.", lower_bound=0
)
_COLD = """
import json, sys, time
start = time.perf_counter()
import tensorflow as tf
imported = time.perf_counter()
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
loaded = time.perf_counter()
serve(images=tf.zeros([1, 224, 224, 3]))["features"].numpy()
answered = time.perf_counter()
print(json.dumps([imported - start, loaded - imported, answered - loaded]))
"""


def sizes(folder):
    """Megabytes (10^6 bytes) of the parts of an export, by name."""
    parts = {
        "saved_model.pb": [folder / "saved_model.pb"],
        "variables/": folder.glob("variables/*"),
        "encoder.keras": [folder / "encoder.keras"],
        "encoder.onnx": [folder / "encoder.onnx"],
    }
    return {
        name: sum(file.stat().st_size for file in files) / 1e6
        for name, files in parts.items()
    }


def cold_start(folder):
    """Seconds to import TensorFlow, to load, and to the first answer."""
    ended = subprocess.run(
        [sys.executable, "-c", _COLD, folder],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout.splitlines()[-1])


def requests(encoder, folder, batch_size, threads):
    """Functions that each answer one request, by name.

    Args:
        encoder: the live `keras.Model`.
        folder: `pathlib.Path` of its export, with `encoder.onnx` beside.
        batch_size: images per request.
        threads: cores for onnxruntime; 0: all.
    """
    photos = load_sample_images().images
    photos = [photos[k % 2][:400, :600] for k in range(batch_size)]
    images = tf.constant(np.float32([p[:224, :224] for p in photos]) / 255)
    files = tf.constant([as_jpeg(photo) for photo in photos])
    served = tf.saved_model.load(str(folder)).signatures
    live = tf.function(lambda x: encoder(x, training=False))
    calls = {
        "live model in a tf.function": lambda: live(images),
        "serving_default": lambda: served["serving_default"](images=images),
        "serve_bytes, from JPEG": lambda: served["serve_bytes"](images=files),
    }
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        folder / "encoder.onnx", options, providers=["CPUExecutionProvider"]
    )
    array = images.numpy()
    calls["ONNX in onnxruntime"] = lambda: session.run(None, {"images": array})
    return calls


def as_jpeg(pixels):
    """The bytes of a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def main(_):
    """Prints sizes, seconds, and images per second."""
    logging.set_verbosity(logging.WARNING)
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    tf.config.threading.set_inter_op_parallelism_threads(_THREADS.value)
    origin = origins.untrained(_BACKBONE.value)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "export"
        saved_model.save(origin.encoder, folder, **origin.about)
        onnx.write_onnx(origin.encoder, folder / "encoder.onnx")
        for name, size in sizes(folder).items():
            print(f"{name:<30} {size:8.1f} MB")
        imports, load, answer = cold_start(folder)
        print(f"{'import tensorflow':<30} {imports:8.2f} s")
        print(f"{'cold load':<30} {load:8.2f} s")
        print(f"{'first answer':<30} {answer:8.2f} s")
        calls = requests(
            origin.encoder, folder, _BATCH_SIZE.value, _THREADS.value
        )
        times = interleaved(calls, _ROUNDS.value, _SECONDS.value)
    cores = f"{_THREADS.value} core(s)" if _THREADS.value else "all cores"
    live = next(iter(times.values()))
    for name, seconds in times.items():
        rate = _BATCH_SIZE.value / seconds
        print(f"{name:<30} {rate:8.1f} images/s on {cores}", end="")
        print(f"   {live / seconds:.2f} of the live model")


if __name__ == "__main__":
    app.run(main)
