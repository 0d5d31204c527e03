"""Do features travel? One encoder, by every way that leads to its features.

    python -m benchmarks.routes --backbone resnet50 resnet_tiny \
        --hub_python=.venv-interop/bin/python

Exports an encoder with random weights and batch-norm statistics in every
format, feeds two photographs to each route, and prints the largest difference
from the live model, as a part of the largest feature. Routes that need another
environment run in a process of their own: PyTorch, and every Python of
`--hub_python` that has tensorflow-hub (`make test-interop` sets one up).
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_sample_images

from mec_tf.files.atomic import replaced_folder
from mec_tf.formats import loading, onnx, saved_model, torch_file, torchvision
from mec_tf.models.encoder import backbone_of
from mec_tf.models.resnet import ARCHITECTURES

# Scripts for other environments: they import nothing of this package.
_HERE = Path(__file__).parent
_OTHERS = {"hub": _HERE / "hub_route.py", "torch": _HERE / "torch_route.py"}


def measure(backbone, hub_pythons, folder):
    """Features by every route.

    Args:
        backbone: name of the backbone.
        hub_pythons: paths of Pythons with tensorflow-hub.
        folder: `pathlib.Path` of an empty folder.

    Returns:
        Dict from each route's name to its features `[2, d]`, the live model's
        first; or to a string that says why there is none.
    """
    encoder = _write(backbone, folder)
    images = _photographs(48 if ARCHITECTURES[backbone].cifar_stem else 224)
    np.save(folder / "images.npy", images)
    reloaded = tf.saved_model.load(str(folder / "saved_model"))
    layer = keras.layers.TFSMLayer(
        folder / "saved_model", call_training_endpoint="train"
    )
    again = keras.models.load_model(folder / "saved_model/encoder.keras")
    routes = {
        "live model": encoder(images),
        "tf.saved_model.load": reloaded(images),
        "serving_default": reloaded.signatures["serving_default"](
            images=tf.constant(images)
        )["features"],
        "keras.layers.TFSMLayer": layer(images),
        "encoder.keras": again(images),
        "ONNX in onnxruntime": _by_onnx(folder, images),
        "torchvision in PyTorch": _by_torch(backbone, folder, images),
    }
    for python in hub_pythons:
        name, features = _by_script("hub", python, folder / "saved_model")
        routes[f"hub.KerasLayer, {name}"] = features
    return routes


def differences(routes):
    """Largest difference from the first route, relative; None where absent."""
    expected = np.asarray(next(iter(routes.values())))
    return {
        name: None
        if isinstance(features, str)
        else np.abs(np.asarray(features) - expected).max()
        / np.abs(expected).max()
        for name, features in routes.items()
    }


def _write(backbone, folder):
    """Exports to `folder` in all formats; returns the live encoder."""
    loaded = loading.untrained(backbone)
    generator = np.random.default_rng(0)
    for variable in loaded.encoder.weights:
        if len(variable.shape) == 1:  # Batch norm's, else far too regular.
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    saved_model.save(loaded.encoder, folder / "saved_model", **loaded.metadata)
    with replaced_folder(folder / "onnx") as partial:
        onnx.write_onnx(loaded.encoder, partial / "encoder.onnx")
    if importlib.util.find_spec("torch"):
        torch_file.write_torch_file(
            folder / "encoder.pth",
            torchvision.to_state_dict(backbone_of(loaded.encoder)),
        )
    return loaded.encoder


def _photographs(size):
    photos = load_sample_images().images
    return np.float32([p[:size, : size + size // 7] for p in photos]) / 255


def _by_onnx(folder, images):
    if not importlib.util.find_spec("onnxruntime"):
        return "onnxruntime is not installed"
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "onnx/encoder.onnx")
    return session.run(["features"], {"images": images})[0]


def _by_torch(backbone, folder, images):
    if not importlib.util.find_spec("torchvision"):
        return "torchvision is not installed"
    if ARCHITECTURES[backbone].cifar_stem:
        return f"torchvision has no {backbone}"
    # As the recipe says: PyTorch's users normalise outside of the network.
    mean, std = loading.IMAGENET_MEAN, loading.IMAGENET_STD
    np.save(folder / "normalised.npy", (images - mean) / std)
    _, features = _by_script(
        "torch", sys.executable, folder / "encoder.pth", backbone
    )
    return features


def _by_script(script, python, *arguments):
    """Runs a script elsewhere; returns what it calls itself, and features."""
    ended = subprocess.run(
        [python, "-I", _OTHERS[script], *arguments],
        cwd=arguments[0].parent,
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        raise ValueError(
            f"{python} failed as the environment for {script}: "
            f"{ended.stderr.strip().splitlines()[-1]}; see its package list"
        )
    features = np.load(arguments[0].parent / f"{script}.npy")
    return ended.stdout.strip().splitlines()[-1], features


def main():
    """Prints a table for each backbone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routes")
    parser.add_argument(
        "--backbone",
        nargs="+",
        default=["resnet50", "resnet_tiny"],
        choices=ARCHITECTURES,
        help="backbones to export",
    )
    parser.add_argument(
        "--hub_python",
        type=Path,
        nargs="*",
        default=[],
        help="Pythons of environments with tensorflow-hub",
    )
    arguments = parser.parse_args()
    pythons = [path.absolute() for path in arguments.hub_python]
    for backbone in arguments.backbone:
        with tempfile.TemporaryDirectory() as folder:
            routes = measure(backbone, pythons, Path(folder))
        print(f"{backbone}: largest difference, as a part of the largest")
        for name, difference in differences(routes).items():
            shown = routes[name] if difference is None else f"{difference:.1e}"
            print(f"  {name:<40} {shown}")


if __name__ == "__main__":
    main()
