"""Writes, in the main environment, what the second environment is to check.

    .venv/bin/python tests_interop/exporter.py FOLDER

FOLDER/encoder is an export made by the command line. FOLDER/expected.npz holds
what the exporter computes with it, and the inputs.
"""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from mec_tf.augment import photometric
from mec_tf.augment.policy import View

SIGMA = 1.3


def main(folder):
    """Writes the export and the expectations."""
    subprocess.run(
        [
            *(sys.executable, "-m", "mec_tf.export"),
            "--encoder=random:resnet_tiny",
            "--image_size=64",
            f"--export_dir={folder}/encoder",
        ],
        check=True,
    )
    encoder = tf.saved_model.load(f"{folder}/encoder")
    photos = np.stack(load_sample_images().images)
    crops = photos[:, 100:197, 200:331].astype(np.float32) / 255.0
    files = [as_file(photos[0], "JPEG"), as_file(photos[1], "PNG")]
    digits = load_digits()
    pixels = np.repeat(digits.images[..., None] / 16.0, 3, axis=-1)
    # Batch statistics that differ from the fresh ones make them matter.
    encoder(crops, training=True)
    np.savez(
        folder / "expected.npz",
        crops=crops,
        features=encoder(crops),
        jpeg=np.frombuffer(files[0], np.uint8),
        png=np.frombuffer(files[1], np.uint8),
        features_of_files=encoder.signatures["serve_bytes"](
            images=tf.constant(files)
        )["features"],
        digits=pixels.astype(np.float32),
        labels=digits.target,
        blurred=blur(crops),
        sigma=SIGMA,
    )
