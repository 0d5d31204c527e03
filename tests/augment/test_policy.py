"""The presets say what the papers say; overrides reach the right views."""

import dataclasses

import numpy as np
import pytest
import sklearn.datasets

from mec_tf.augment.policy import PRESETS, View, preset


def test_byol_is_the_papers_table():
    one, two = preset("byol", image_size=224).views
    shared = {
        "size": 224,
        "crop_area": (0.08, 1.0),
        "crop_ratio": (3 / 4, 4 / 3),
        "flip": 0.5,
        "jitter": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
        "grey": 0.2,
        "blur_sigma": (0.1, 2.0),
        "blur_taps": 23,
        "solarize_threshold": 0.5,
        "noise": 0.0,
    }
    own = {"blur": 1.0, "solarize": 0.0}, {"blur": 0.1, "solarize": 0.2}
    assert dataclasses.asdict(one) == {**shared, **own[0]}
    assert dataclasses.asdict(two) == {**shared, **own[1]}


def test_official_differs_in_the_crop_alone():
    paper = preset("byol", image_size=224)
    official = preset("official_mec", image_size=224)
    assert official.interpolation == "bilinear"
    for ours, theirs in zip(paper.views, official.views, strict=True):
        assert theirs == dataclasses.replace(ours, crop_area=(0.2, 1.0))


def test_every_preset_has_two_global_views():
    assert set(PRESETS) == {"byol", "official_mec", "cifar", "digits", "none"}
    for name in PRESETS:
        policy = preset(name, image_size=32)
        assert [view.size for view in policy.views] == [32, 32]
        hash(policy)


def test_cifar_is_not_blurred_digits_not_mirrored():
    assert all(v.blur == 0 for v in preset("cifar", image_size=32).views)
    for view in preset("digits", image_size=16).views:
        assert view.flip == view.grey == view.hue == 0


def test_digits_are_normalised_by_their_own_statistics():
    images = sklearn.datasets.load_digits().images / 16
    policy = preset("digits", image_size=16)
    np.testing.assert_allclose(policy.mean, images.mean(), atol=1e-4)
    np.testing.assert_allclose(policy.std, images.std(), atol=1e-4)


def test_local_views_come_last_and_are_small():
    policy = preset("byol", image_size=224, local_crops=6, local_size=96)
    assert [view.size for view in policy.views] == [224] * 2 + [96] * 6
    assert policy.views[0].crop_area == (0.14, 1.0)
    local = policy.views[-1]
    assert local.crop_area == (0.05, 0.14)
    assert (local.blur, local.blur_taps, local.solarize) == (0.5, 9, 0.0)
    assert preset("official_mec", image_size=224, local_crops=1).views[
        0
    ].crop_area == (0.2, 1.0)
    cifar = preset("cifar", image_size=32, local_crops=1, local_size=16)
    assert cifar.views[-1].blur == 0


def test_overrides():
    policy = preset(
        "byol",
        image_size=64,
        local_crops=1,
        hue=0.0,
        blur=(0.3, 0.2),
        crop_area=(0.5, 1.0),
        interpolation="bilinear",
    )
    one, two, local = policy.views
    assert (one.blur, two.blur, local.blur) == (0.3, 0.2, 0.5)
    assert one.hue == local.hue == 0
    assert one.crop_area == (0.5, 1.0) and local.crop_area == (0.05, 0.14)
    assert policy.interpolation == "bilinear"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("simclr", {}, "'simclr'. Expected one of byol, official_mec"),
        ("byol", {"colour": 1}, "Unknown settings of views: colour"),
        ("byol", {"size": 1}, "Unknown settings of views: size"),
        ("byol", {"grey": 1.5}, r"grey was 1.5. Expected .* \[0, 1\]"),
        ("byol", {"hue": 0.6}, r"hue was 0.6. Expected .* \[0, 0.5\]"),
        ("byol", {"crop_area": (0.5, 0.2)}, "the lesser first"),
        ("byol", {"blur_taps": 4}, "odd number of taps"),
        ("byol", {"local_crops": -1}, "Expected 0 or more"),
    ],
)
def test_errors(name, options, message):
    with pytest.raises(ValueError, match=message):
        preset(name, image_size=32, **options)


def test_a_view_is_checked_wherever_it_is_made():
    with pytest.raises(ValueError, match="jitter was -0.1"):
        View(32, jitter=-0.1)
