"""One encoder by its three names, and what its checksum notices."""

import shutil

import numpy as np
import tensorflow as tf

from mec_tf.formats import encoders
from mec_tf.models.encoder import with_more_outputs


def test_export_keras_file_and_workdir_are_one_encoder(small_run):
    folder, _ = small_run
    images = tf.random.stateless_uniform([4, 8, 8, 3], [0, 0])
    names = ("exports/small", "exports/small/encoder.keras", "runs/small")
    answers, checksums = [], set()
    for name in names:
        encode, metadata = encoders.open_encoder(str(folder / name))
        answers.append(np.asarray(encode(images)))
        checksums.add(metadata["checksum"])
        model, metadata = encoders.open_model(str(folder / name))
        answers.append(np.asarray(model(images, training=False)))
        assert model.trainable_variables
        checksums.add(metadata["checksum"])
    for answer in answers[1:]:
        assert np.allclose(answer, answers[0], atol=1e-5)
    assert len(checksums) == 3
    assert encoders.trained_at(str(folder / "exports/small")) == 8
    assert encoders.trained_at(str(folder / "runs/small")) == 8


def test_a_keras_export_is_an_encoder_too(small_run, tmp_path):
    """What `mec_tf.export --format=keras` writes, also with more outputs."""
    export = small_run[0] / "exports/small"
    shutil.copy(export / "encoder.json", tmp_path)
    shutil.copy(export / "encoder.keras", tmp_path)
    images = tf.random.stateless_uniform([4, 8, 8, 3], [0, 0])
    expected = encoders.open_encoder(str(export))[0](images)
    model, plain = encoders.open_model(str(tmp_path))
    assert encoders.trained_at(str(tmp_path)) == 8

    more = with_more_outputs(model, intermediate=True)
    more.save(tmp_path / "encoder.keras")
    encode, metadata = encoders.open_encoder(str(tmp_path))
    assert np.allclose(encode(images), expected, atol=1e-5)
    assert metadata["backbone"] == "resnet_tiny"
    assert metadata["checksum"] != plain["checksum"]
    model, _ = encoders.open_model(str(tmp_path))
    assert model.output_shape == (None, expected.shape[1])


def test_checksums_follow_weights():
    def checksum(seed, name="random:resnet_tiny"):
        tf.keras.utils.set_random_seed(seed)
        return encoders.open_encoder(name)[1]["checksum"]

    assert checksum(0) == checksum(0)
    assert len({checksum(0), checksum(1), checksum(0, "pixels")}) == 3
