import io
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from mec_tf.data import pipeline, sources
from mec_tf.errors import UserError
from mec_tf.evaluations import features
from mec_tf.formats import encoders, saved_model
from mec_tf.models import build_backbone
from mec_tf.models.encoder import build_encoder

METADATA_KEYS = {
    "backbone",
    "feature_dim",
    "image_size",
    "input_range",
    "mean",
    "std",
    "objective",
    "dataset",
    "steps",
    "version",
    "scores",
    "run",
}
MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    keras.utils.set_random_seed(0)
    encoder = build_encoder(build_backbone("resnet_tiny"), mean=MEAN, std=STD)
    for variable in encoder.variables:  # so that every weight matters
        noise = np.random.default_rng(1).uniform(0.1, 0.3, variable.shape)
        variable.assign(variable + noise.astype(np.float32))
    folder = tmp_path_factory.mktemp("exports") / "tiny"
    save(encoder, folder)
    return encoder, folder


def save(encoder, folder, image_size=16):
    saved_model.save(
        encoder,
        folder,
        backbone="resnet_tiny",
        image_size=image_size,
        mean=MEAN,
        std=STD,
        objective="mec",
        dataset="digits",
        steps=5,
        scores={"knn_accuracy": 0.5},
    )


def images(n=3, h=16, w=16):
    return np.random.default_rng(n * h * w).random((n, h, w, 3), np.float32)


def test_the_contract_of_files_and_keys(exported):
    _, folder = exported
    names = {path.name for path in folder.iterdir()}
    assert {"saved_model.pb", "variables", "encoder.keras"} <= names
    metadata = json.loads((folder / "encoder.json").read_text())
    assert metadata.keys() == METADATA_KEYS
    assert metadata["input_range"] == [0.0, 1.0]


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 33, 20), (5, 8, 64)])
def test_serving_signature_takes_any_size_and_has_one_output(exported, shape):
    encoder, folder = exported
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    outputs = serve(tf.constant(images(*shape)))
    assert outputs.keys() == {"features"}
    np.testing.assert_allclose(
        outputs["features"], encoder(images(*shape)), rtol=1e-4, atol=1e-5
    )


def test_a_batch_of_none_has_no_features(exported):
    _, folder = exported
    signatures = tf.saved_model.load(str(folder)).signatures
    nothing = {
        "serving_default": tf.zeros([0, 16, 16, 3]),
        "serve_bytes": tf.constant([], tf.string),
    }
    for name, images in nothing.items():
        features = signatures[name](images=images)["features"]
        assert features.shape == (0, 128), name


def as_bytes(n=3):
    return np.random.default_rng(n).integers(0, 256, (n, 16, 16, 3), np.uint8)


def test_every_route_scales_bytes_and_casts_doubles(exported):
    encoder, folder = exported
    expected = encoder(as_bytes() / np.float32(255))
    reused = tf.saved_model.load(str(folder))
    encode, _ = saved_model.load(folder)
    open_encode, _ = encoders.open_encoder(str(folder))
    keras_encode, _ = encoders.open_encoder(str(folder / "encoder.keras"))
    layer = keras.layers.TFSMLayer(folder, call_endpoint="serve")
    routes = [reused, encode, open_encode, keras_encode, layer]
    for route in routes:
        for given in (as_bytes(), tf.constant(as_bytes()), as_bytes() / 255):
            np.testing.assert_allclose(
                route(given), expected, rtol=1e-4, atol=1e-5
            )
    served = reused.signatures["serve_uint8"](images=tf.constant(as_bytes()))
    assert served.keys() == {"features"}
    np.testing.assert_allclose(
        served["features"], expected, rtol=1e-4, atol=1e-5
    )
    none = tf.zeros([0, 16, 16, 3], tf.uint8)
    none = reused.signatures["serve_uint8"](images=none)["features"]
    assert none.shape == (0, 128)


@pytest.mark.parametrize("training", [False, True])
def test_training_takes_them_too(exported, training):
    encoder, folder = exported
    found = [
        tf.saved_model.load(str(folder))(given, training=training)
        for given in (as_bytes(), as_bytes() / 255, images())
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)
    assert not np.allclose(found[0], found[2])


@pytest.mark.parametrize("scale", [255, -1, 2.1])
def test_every_route_refuses_other_ranges(exported, scale):
    _, folder = exported
    wrong = scale * images()
    reused = tf.saved_model.load(str(folder))
    serve = reused.signatures["serving_default"]
    routes = [
        reused,
        lambda x: reused(x, training=True),
        lambda x: serve(images=tf.constant(x)),
        keras.layers.TFSMLayer(
            folder, call_endpoint="serve", call_training_endpoint="train"
        ),
    ]
    before = [variable.numpy() for variable in reused.variables]
    for route in routes:
        with pytest.raises(tf.errors.InvalidArgumentError, match="values from"):
            route(wrong)
    for value, variable in zip(before, reused.variables, strict=True):
        np.testing.assert_array_equal(value, variable.numpy())
    encode, _ = saved_model.load(folder)
    for route in (encode, encoders.open_encoder(str(folder))[0]):
        with pytest.raises(UserError):
            route(wrong)
    # A service that casts what it is sent.
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        serve(images=as_bytes())


def test_normalisation_is_inside(exported):
    encoder, folder = exported
    backbone = encoder.layers[-1]
    normalised = (images() - np.float32(MEAN)) / np.float32(STD)
    encode, metadata = saved_model.load(folder)
    assert metadata["mean"] == list(MEAN)
    np.testing.assert_allclose(
        encode(images()), backbone(normalised), rtol=1e-4, atol=1e-4
    )


def test_the_saved_model_fine_tunes(exported):
    _, folder = exported
    reused = tf.saved_model.load(str(folder))
    frozen = [v.numpy() for v in reused.variables]
    reused(images(), training=False)
    assert all(
        np.array_equal(a, b.numpy())
        for a, b in zip(frozen, reused.variables, strict=True)
    )
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(reused(images(), training=True) ** 2)
    gradients = tape.gradient(loss, reused.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    assert reused.regularization_losses == []
    moved = [
        not np.array_equal(a, b.numpy())
        for a, b in zip(frozen, reused.variables, strict=True)
    ]
    assert any(moved)  # the running statistics


def test_the_keras_file_is_the_same_encoder(exported):
    encoder, folder = exported
    again = keras.models.load_model(folder / "encoder.keras")
    np.testing.assert_allclose(
        again(images()), encoder(images()), rtol=1e-5, atol=1e-6
    )


def test_a_failed_export_leaves_the_former_one(exported, tmp_path, monkeypatch):
    encoder, _ = exported
    folder = tmp_path / "kept"
    save(encoder, folder)
    before = (folder / "encoder.json").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(OSError, match="No space"):
        save(encoder, folder)
    assert (folder / "encoder.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    saved_model.load(folder)


def test_a_folder_that_is_no_export_is_named(tmp_path):
    with pytest.raises(ValueError, match="is not an exported encoder"):
        saved_model.load(tmp_path)


def test_keras_takes_it_as_a_layer(exported):
    encoder, folder = exported
    layer = keras.layers.TFSMLayer(
        folder, call_endpoint="serve", call_training_endpoint="train"
    )
    np.testing.assert_allclose(layer(images()), encoder(images()), rtol=1e-4)
    before = [weight.numpy() for weight in layer.weights]
    model = keras.Sequential([layer, keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    targets = np.zeros([3, 2], np.float32)

    layer(images(), training=False)
    for weight, former in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), former)
    assert len(layer.trainable_weights) == len(encoder.trainable_weights)
    assert len(layer.weights) == len(encoder.weights)

    model.fit(images(), targets, verbose=0)
    for weight, former in zip(layer.weights, before, strict=True):
        assert not np.array_equal(weight.numpy(), former), weight.path


def as_file(pixels, kind, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folder of photographs in every guise that cameras and tools give."""
    one, other = load_sample_images().images
    turned = Image.Exif()
    turned[0x0112] = 6
    alpha = np.dstack([one, one[..., :1]])
    deep = one[..., 0].astype(np.uint16) * 257
    files = {
        "a.jpg": as_file(one, "JPEG"),
        "b.jpg": as_file(other[:, 100:200], "JPEG", exif=turned),
        "c.jpg": as_file(one[50:150], "JPEG", "L"),
        "d.jpg": as_file(other, "JPEG", "CMYK"),
        "e.jpg": as_file(other, "PNG"),  # as in ImageNet
        "f.png": as_file(alpha, "PNG", "RGBA"),
        "g.png": as_file(deep, "PNG", "I;16"),
        "h.png": as_file(one[:9, :7], "PNG", "P"),
        "i.gif": as_file(one, "GIF"),
        "j.webp": as_file(alpha, "WEBP", "RGBA"),
    }
    folder = tmp_path_factory.mktemp("photos")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("image_size", [32, 160])
def test_files_give_the_features_that_evaluate_sees(
    exported, photos, image_size, tmp_path
):
    encoder, _ = exported
    save(encoder, tmp_path / "export", image_size)
    encode, _ = saved_model.load(tmp_path / "export")
    source = sources.load("folder", data_dir=photos).pretrain
    expected = features.extract(
        encode,
        pipeline.evaluation_batches(
            source, image_size=image_size, batch_size=4
        ),
    ).values
    served = tf.saved_model.load(str(tmp_path / "export")).signatures
    files = [path.read_bytes() for path in sorted(photos.iterdir())]
    outputs = served["serve_bytes"](images=tf.constant(files))
    assert outputs.keys() == {"features"}
    np.testing.assert_allclose(outputs["features"], expected, rtol=1e-5)


def test_a_bad_file_is_named_and_the_server_lives_on(exported, photos):
    _, folder = exported
    serve = tf.saved_model.load(str(folder)).signatures["serve_bytes"]
    good = (photos / "a.jpg").read_bytes()
    bad = [good[:9999], b"GIF89a", b"", (photos / "e.jpg").read_bytes()[:-9]]
    before = serve(images=tf.constant([good]))["features"]
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=r"these indices cannot be decoded:\] \[0 2 3 5\]",
    ):
        serve(images=tf.constant([bad[0], good, *bad[1:3], good, bad[3]]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0\]"):
        serve(images=tf.constant(bad[:1]))
    after = serve(images=tf.constant([good]))["features"]
    np.testing.assert_array_equal(before, after)


def test_it_holds_the_weights_of_its_encoder_alone(exported, tmp_path):
    encoder, folder = exported
    assert saved_model.holds(folder, encoder)
    assert not saved_model.holds(tmp_path, encoder)
    other = build_encoder(build_backbone("resnet_tiny"), mean=MEAN, std=STD)
    assert not saved_model.holds(folder, other)
