"""Writes, in the main environment, what the second environment checks.

    .venv/bin/python tests_interop/exporter.py FOLDER

FOLDER/encoder is an export. FOLDER/expected.npz holds inputs, and what the
exporter computes from them.
"""

import io
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from mec_tf.augment import photometric
from mec_tf.augment.policy import View
from mec_tf.formats import loading, saved_model

SIGMAS = np.float32([0.1, 0.7, 2.0])


def main(folder):
    """Writes the export and the expectations."""
    loaded = loading.untrained("resnet_tiny")
    generator = np.random.default_rng(0)
    for variable in loaded.encoder.weights:
        if len(variable.shape) == 1:  # batch norm, so that all of it matters
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    loaded.metadata["image_size"] = 64
    saved_model.save(loaded.encoder, folder / "encoder", **loaded.metadata)
    serve_bytes = saved_model.signatures(loaded.encoder, 64)["serve_bytes"]

    photos = load_sample_images().images
    crops = np.float32([photo[100:197, 200:331] for photo in photos]) / 255
    files = [as_file(photos[0], "JPEG"), as_file(photos[1], "PNG")]
    digits = load_digits()
    pixels = np.repeat(digits.images[..., None] / 16, 3, axis=-1)
    np.savez(
        folder / "expected.npz",
        crops=crops,
        features=loaded.encoder(crops),
        files=np.array([file.hex() for file in files]),
        features_of_files=serve_bytes(tf.constant(files))["features"],
        digits=np.float32(pixels),
        labels=digits.target,
        sigmas=SIGMAS,
        blurred=[blur(crops, sigma) for sigma in SIGMAS],
    )


def as_file(pixels, kind):
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def blur(images, sigma):
    """Our blur alone, of 23 taps."""
    view = View(size=1, jitter=0, grey=0, blur=1, blur_sigma=(sigma, sigma))
    draws = np.zeros([len(images), photometric.NUM_DRAWS], np.float32)
    return photometric.augment(images, draws, view).numpy()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
