import keras
import numpy as np
import pytest

from mec_tf.models.resnet import resnet


@pytest.mark.parametrize(
    ("name", "parameters", "d"),
    [
        # torchvision's published counts, less its classifier's.
        ("resnet18", 11_689_512 - 513_000, 512),
        ("resnet34", 21_797_672 - 513_000, 512),
        ("resnet50", 25_557_032 - 2_049_000, 2048),
        ("resnet101", 44_549_160 - 2_049_000, 2048),
        ("resnet152", 60_192_808 - 2_049_000, 2048),
        # Four times resnet50's convolutions; twice its stem and batch norms.
        ("resnet50w2", 4 * 23_445_504 + 2 * (9_408 + 53_120), 4096),
    ],
)
def test_published_sizes(name, parameters, d):
    model = resnet(name)
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trained == parameters
    assert model.output_shape == (None, d)


@pytest.mark.parametrize("name", ["resnet18", "resnet18_cifar", "resnet_tiny"])
@pytest.mark.parametrize("size", [(16, 16), (33, 47)])
def test_any_size_of_image_gives_features(name, size):
    model = resnet(name)
    features = model(np.zeros((2, *size, 3), np.float32))
    assert features.shape == model.compute_output_shape((2, *size, 3))


def test_cifar_stem_keeps_the_resolution_and_the_other_quarters_it():
    images = np.zeros((1, 32, 32, 3), np.float32)
    for name, resolution in [("resnet18_cifar", 32), ("resnet18", 8)]:
        model = resnet(name)
        stem = keras.Model(model.input, model.get_layer("layer1_0_conv1").input)
        assert stem(images).shape == (1, resolution, resolution, 64)


def test_residual_branches_start_at_zero():
    model = resnet("resnet_tiny")
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 3))
    block = keras.Model(
        model.get_layer("layer1_0_conv1").input,
        model.get_layer("layer1_0_relu").output,
    )
    before = keras.Model(model.input, model.get_layer("bn1_relu").output)(
        images
    )
    np.testing.assert_array_equal(block(before, training=True), before)


def test_convolutions_start_as_in_pytorch():
    kernel = resnet("resnet18").get_layer("layer3_0_conv1").kernel.numpy()
    # kaiming_normal_, fan_out, ReLU: variance 2 / (3 * 3 * 256), not truncated.
    deviation = np.sqrt(2 / (9 * 256))
    assert kernel.std() == pytest.approx(deviation, rel=0.01)
    assert np.abs(kernel).max() > 3.5 * deviation


def test_reloads_from_keras_format(tmp_path):
    model = resnet("resnet_tiny")
    images = np.random.default_rng(1).normal(size=(4, 16, 16, 3))
    model(images, training=True)
    model.save(tmp_path / "encoder.keras")
    reloaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(reloaded(images), model(images))
    assert [w.path for w in reloaded.weights] == [w.path for w in model.weights]


def test_mixed_precision_computes_in_half_and_keeps_float32_weights():
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = resnet("resnet_tiny")
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    features = model(np.zeros((2, 16, 16, 3), np.float32), training=True)
    assert features.dtype == "bfloat16"
    assert {v.dtype for v in model.variables} == {"float32"}
