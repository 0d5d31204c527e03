"""What it costs to serve an exported encoder: size, cold load, images/s.

    python -m benchmarks.serving --backbone=resnet50

Exports an untrained encoder and prints its size on disk; the seconds that a
fresh process takes to load it and to answer its first request; and images per
second and core, in turns and with medians, of the live model and of every way
to serve it. `serve_bytes` gets JPEG files of photographs, the others the same
photographs as arrays.

All compute on one thread and are judged by the CPU time that they take, which
other work on the machine changes less than the time on the wall.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from mec_tf.formats import loading, onnx, saved_model

_COLD = """
import json, sys, time
def now(): return time.perf_counter(), time.process_time()
start = now()
import tensorflow as tf
imported = now()
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
loaded = now()
serve(images=tf.zeros([1, 224, 224, 3]))["features"].numpy()
print(json.dumps([start, imported, loaded, now()]))
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
    """Seconds, on the wall and of CPU, of each part of a cold start."""
    ended = subprocess.run(
        [sys.executable, "-c", _COLD, folder],
        capture_output=True,
        text=True,
        check=True,
    )
    times = np.diff(json.loads(ended.stdout.splitlines()[-1]), axis=0)
    parts = ("import tensorflow", "cold load", "first answer")
    return dict(zip(parts, times, strict=True))


def requests(encoder, folder, batch_size):
    """Functions that each answer one request, by name.

    Args:
        encoder: the live `keras.Model`.
        folder: `pathlib.Path` of its export, with `encoder.onnx` beside.
        batch_size: images per request.
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
    options.intra_op_num_threads = 1
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


def cpu_seconds(calls, rounds):
    """Median CPU time of each call, in seconds; they take turns."""
    times = {name: [] for name in calls}
    for call in calls.values():
        call()  # Traces and compiles.
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def main():
    """Prints sizes, seconds, and images per second and core."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving")
    parser.add_argument("--backbone", default="resnet50", help="what to serve")
    parser.add_argument(
        "--batch_size", type=int, default=8, help="images per request"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="requests timed of each kind"
    )
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = loading.untrained(arguments.backbone)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "export"
        saved_model.save(loaded.encoder, folder, **loaded.metadata)
        onnx.write_onnx(loaded.encoder, folder / "encoder.onnx")
        for name, size in sizes(folder).items():
            print(f"{name:<30} {size:8.1f} MB")
        for name, (wall, cpu) in cold_start(folder).items():
            print(f"{name:<30} {wall:8.2f} s ({cpu:.2f} s of CPU)")
        calls = requests(loaded.encoder, folder, arguments.batch_size)
        times = cpu_seconds(calls, arguments.rounds)
    live = next(iter(times.values()))
    for name, seconds in times.items():
        rate = arguments.batch_size / seconds
        print(f"{name:<30} {rate:8.1f} images/s and core", end="")
        print(f"   {live / seconds:.2f} of the live model's")


if __name__ == "__main__":
    main()
