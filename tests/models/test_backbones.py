import keras
import numpy as np
import pytest

from mec_tf.models import build_backbone


def test_builds_a_residual_network_by_name():
    model = build_backbone("resnet_tiny")
    assert model.name == "resnet_tiny"
    assert model.output_shape == (None, 128)


@pytest.mark.parametrize(
    ("name", "d"), [("MobileNetV2", 1280), ("MobileNetV3Small", 576)]
)
def test_builds_any_keras_application(name, d):
    model = build_backbone(f"keras:{name}")
    images = np.random.default_rng(0).normal(size=(2, 64, 48, 3))
    assert model(images.astype(np.float32)).shape == (2, d)


def test_efficientnet_sees_the_images_as_they_are():
    model = build_backbone("keras:EfficientNetB0")
    seen = keras.Model(model.input, model.get_layer("normalization").output)
    images = np.random.default_rng(1).normal(size=(1, 8, 8, 3))
    np.testing.assert_allclose(seen(images), images, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet19", "keras:ResNet19", "MobileNetV2"])
def test_unknown_name_lists_the_known_ones(name):
    with pytest.raises(ValueError, match="expected one of") as error:
        build_backbone(name)
    for known in ("resnet50w2", "resnet18_cifar", "keras:MobileNetV2"):
        assert known in str(error.value)


def test_nasnet_is_left_out_with_the_reason():
    with pytest.raises(ValueError, match="for one size of images; expected"):
        build_backbone("keras:NASNetMobile")
