"""Fine-tunes an exported encoder on labelled digits, through every route.

    python -m benchmarks.fine_tuning --export=exports/digits \
        --hub_python=.venv-interop/bin/python

The same images in the same order, the same head and the same plain SGD, so
that accuracies differ by rounding alone, which training amplifies: `--seeds`
tells how far. `make test-interop` sets up a Python for `--hub_python`.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks.fine_tuning_loop import accuracies
from mec_tf.data import pipeline, sources

_HUB_SCRIPT = Path(__file__).with_name("hub_fine_tuning.py")


def by_saved_model(export):
    """`tf.saved_model.load`."""
    encoder = tf.saved_model.load(str(export))
    return (
        lambda x, training: encoder(x, training=training),
        encoder.trainable_variables,
    )


def by_layer(export):
    """`keras.layers.TFSMLayer`."""
    layer = keras.layers.TFSMLayer(
        export, call_endpoint="serve", call_training_endpoint="train"
    )
    return (
        lambda x, training: layer(x, training=training),
        [variable.value for variable in layer.trainable_variables],
    )


def by_keras_file(export):
    """`keras.models.load_model`."""
    model = keras.models.load_model(Path(export) / "encoder.keras")
    return (
        lambda x, training: model(x, training=training),
        [variable.value for variable in model.trainable_variables],
    )


ROUTES = {
    "tf.saved_model.load": by_saved_model,
    "keras.layers.TFSMLayer": by_layer,
    "encoder.keras": by_keras_file,
}


def labelled_digits(folder):
    """Writes the digits for all routes, split as `data.sources` does."""
    splits = sources.load("digits")
    arrays = {}
    for name, source in (("train", splits.references), ("test", splits.test)):
        (batch,) = pipeline.evaluation_batches(
            source, image_size=8, batch_size=source.size
        )
        arrays[f"{name}_images"] = np.float32(batch["image"]) / 255
        arrays[f"{name}_labels"] = np.asarray(batch["label"])
    np.savez(folder / "digits.npz", **arrays)
    return folder / "digits.npz"


def in_other_python(python, *arguments):
    """Runs this file there; returns what it calls itself, and accuracies."""
    ended = subprocess.run(
        [python, "-E", "-s", _HUB_SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        raise ValueError(
            f"{python} failed: {ended.stderr.strip().splitlines()[-1]}"
        )
    return json.loads(ended.stdout.strip().splitlines()[-1])


def main():
    """Prints one line for each route."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fine_tuning")
    parser.add_argument(
        "--export", type=Path, required=True, help="folder of an export"
    )
    parser.add_argument(
        "--hub_python",
        type=Path,
        nargs="*",
        default=[],
        help="Pythons of environments with tensorflow-hub",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="trainings on each route"
    )
    parser.add_argument(
        "--epochs", type=int, default=5, help="passes in each training"
    )
    arguments = parser.parse_args()
    export = arguments.export.absolute()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        path = labelled_digits(Path(folder))
        digits = dict(np.load(path))
        for name, route in ROUTES.items():
            rows[name] = accuracies(
                route,
                export,
                digits,
                seeds=arguments.seeds,
                epochs=arguments.epochs,
            )
        for python in arguments.hub_python:
            version, found = in_other_python(
                python.absolute(),
                export,
                path,
                arguments.seeds,
                arguments.epochs,
            )
            rows[f"hub.KerasLayer, TensorFlow {version}"] = found
    print("accuracy on held-out digits: mean, then each seed")
    for name, found in rows.items():
        each = "  ".join(f"{100 * accuracy:.1f}" for accuracy in found)
        print(f"  {name:<36} {100 * np.mean(found):.1f} %   {each}")


if __name__ == "__main__":
    main()
