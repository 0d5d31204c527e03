"""Colours against Pillow's arithmetic, blur against an exact Gaussian."""

import colorsys
import dataclasses
import itertools

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from PIL import Image, ImageEnhance

from mec_tf.augment import photometric
from mec_tf.augment.policy import View

# A view to which nothing happens.
STILL = View(
    64,
    jitter=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    grey=0.0,
)


@pytest.fixture
def images(photograph):
    return np.stack([photograph(k, 60, 80) for k in range(3)])


def _draws(count, **columns):
    draws = np.full([count, photometric.NUM_DRAWS], 0.5, np.float32)
    for name, value in columns.items():
        draws[:, getattr(photometric, name.upper())] = value
    return tf.constant(draws)


def _shown(images, draws, view):
    return photometric.augment(tf.constant(images), draws, view).numpy()


def _pillow(images, operation):
    changed = [operation(Image.fromarray(image)) for image in images]
    return np.stack([np.asarray(image) for image in changed]) / 255


@pytest.mark.parametrize("factor", [0.6, 0.85, 1.0, 1.4])
@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_factors_equal_pillows(images, name, enhance, factor):
    view = dataclasses.replace(STILL, jitter=1.0, **{name: 0.4})
    draws = _draws(3, **{name: (factor - 0.6) / 0.8})
    expected = _pillow(images, lambda image: enhance(image).enhance(factor))
    difference = np.abs(_shown(images, draws, view) - expected)
    assert difference.mean() <= 1 / 255


@pytest.mark.parametrize("turn", [-0.1, 0.03, 0.1, 0.5])
def test_hue_equals_pillows(images, turn):
    """Pillow's HSV has whole numbers, hence the tolerance of 2/255."""

    def pillow_hue(image):
        hue, saturation, value = image.convert("HSV").split()
        turned = np.asarray(hue).astype(int) + int(turn * 255)
        hue = Image.fromarray((turned % 256).astype(np.uint8))
        return Image.merge("HSV", (hue, saturation, value)).convert("RGB")

    view = dataclasses.replace(STILL, jitter=1.0, hue=0.5)
    draws = _draws(3, hue=turn + 0.5 if turn < 0.5 else np.float32(1 - 2**-24))
    expected = _pillow(images, pillow_hue)
    difference = np.abs(_shown(images, draws, view) - expected)
    assert difference.mean() <= 2 / 255


def test_grey_equals_pillows(images):
    view = dataclasses.replace(STILL, grey=1.0)
    expected = _pillow(images, lambda image: image.convert("L").convert("RGB"))
    difference = np.abs(_shown(images, _draws(3), view) - expected)
    assert difference.mean() <= 1 / 255


def test_solarize_equals_pillows(images):
    view = dataclasses.replace(STILL, solarize=1.0)
    expected = np.where(images < 128, images, 255 - images) / 255
    shown = _shown(images, _draws(3), view)
    np.testing.assert_allclose(shown, expected, atol=1e-6)


@pytest.mark.parametrize(("draw", "sigma"), [(0.0, 0.1), (0.4, 0.86), (1, 2.0)])
def test_blur_is_an_exact_gaussian(images, draw, sigma):
    view = dataclasses.replace(STILL, blur=1.0)
    shown = _shown(images, _draws(3, sigma=draw), view)
    expected = images / 255.0
    for axis in (1, 2):
        expected = scipy.ndimage.gaussian_filter1d(
            expected, sigma, axis, mode="mirror", radius=11
        )
    np.testing.assert_allclose(shown, expected, atol=1e-5)


def test_blur_by_a_kernel_longer_than_the_image(photograph):
    tiny = photograph(0, 30, 30)[None, :8, :8]
    view = dataclasses.replace(STILL, blur=1.0, blur_taps=23)
    shown = _shown(tiny, _draws(1, sigma=1.0), view)
    expected = tiny / 255.0
    for axis in (1, 2):
        expected = scipy.ndimage.gaussian_filter1d(
            expected, 2.0, axis, mode="mirror", radius=11
        )
    np.testing.assert_allclose(shown, expected, atol=1e-5)


@pytest.mark.parametrize("number", [0, 1, 2, 5, 11])
def test_blur_of_some_images_of_a_batch(photograph, number):
    """Groups of two, the last one half full, must neither miss nor repeat."""
    images = np.stack([photograph(k, 20, 20) for k in range(11)])
    blurred = np.random.default_rng(number).permutation(11) < number
    draws = _draws(11, blur=np.where(blurred, 0.1, 0.9), sigma=0.5)
    some = dataclasses.replace(STILL, blur=0.5)
    every = dataclasses.replace(STILL, blur=1.0)
    expected = np.where(
        blurred[:, None, None, None],
        _shown(images, draws, every),
        images / 255,
    )
    shown = _shown(images, draws, some)
    np.testing.assert_allclose(shown, expected, atol=1e-6)


def _reference(name, image, amount):
    """One operation of the jitter on float64 `[h, w, 3]`."""
    grey = image @ [0.299, 0.587, 0.114]
    if name == "brightness":
        changed = amount * image
    elif name == "contrast":
        changed = amount * image + (1 - amount) * grey.mean()
    elif name == "saturation":
        changed = amount * image + (1 - amount) * grey[..., None]
    else:

        def turn(pixel):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
            return colorsys.hsv_to_rgb((hue + amount) % 1, saturation, value)

        changed = np.apply_along_axis(turn, 2, image)
    return np.clip(changed, 0, 1)


def test_all_orders_of_the_jitter(photograph):
    """24 images, each in another order, in one batch."""
    names = ("brightness", "contrast", "saturation", "hue")
    orders = list(itertools.permutations(names))
    images = np.stack([photograph(k, 12, 12) for k in range(24)])
    draws = _draws(
        24,
        order=(np.arange(24) + 0.5) / 24,
        brightness=1.0,
        contrast=0.9,
        saturation=0.1,
        hue=0.8,
    )
    view = dataclasses.replace(
        STILL,
        jitter=1.0,
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
    )
    amounts = {
        "brightness": 1.4,
        "contrast": 1.32,
        "saturation": 0.84,
        "hue": 0.06,
    }
    shown = _shown(images, draws, view)
    expected = []
    for image, order in zip(images / 255.0, orders, strict=True):
        for name in order:
            image = _reference(name, image, amounts[name])
        expected.append(image)
    np.testing.assert_allclose(shown, expected, atol=2e-6)


EVERYTHING = View(
    16,
    blur=0.5,
    blur_taps=5,
    solarize=0.3,
    noise=0.05,
)


@pytest.mark.parametrize(
    ("field", "column", "probability"),
    [
        ("jitter", "jitter", 0.8),
        ("grey", "grey", 0.2),
        ("blur", "blur", 0.1),
        ("solarize", "solarize", 0.2),
    ],
)
def test_probabilities(photograph, field, column, probability):
    count = 3000
    image = photograph(0, 30, 30)[None, 10:16, 10:16]
    view = dataclasses.replace(
        STILL,
        brightness=0.4,
        blur_sigma=(1.0, 1.0),
        blur_taps=3,
        **{field: probability},
    )
    shape = [count, photometric.NUM_DRAWS]
    draws = tf.random.stateless_uniform(shape, [3, 1]).numpy()
    # Far from a factor of 1, which would leave the image as it is.
    draws[:, photometric.BRIGHTNESS] = 0.9
    shown = _shown(np.repeat(image, count, axis=0), draws, view)
    changed = np.abs(shown - image / 255).max(axis=(1, 2, 3)) > 1e-4
    np.testing.assert_array_equal(
        changed, draws[:, getattr(photometric, column.upper())] < probability
    )
    deviation = np.sqrt(probability * (1 - probability) / count)
    assert abs(changed.mean() - probability) < 4 * deviation


def test_strengths_fill_their_ranges():
    count = 4000
    image = np.full([count, 1, 1, 3], 128, np.uint8)
    view = dataclasses.replace(STILL, jitter=1.0, brightness=0.4)
    draws = tf.random.stateless_uniform([count, photometric.NUM_DRAWS], [4, 1])
    factor = _shown(image, draws, view)[:, 0, 0, 0] * 255 / 128
    counts, _ = np.histogram(factor, 10, (0.6, 1.4))
    # Chi-squared with 9 degrees of freedom, 0.1 % level.
    assert ((counts - 400) ** 2 / 400).sum() < 27.9


def test_no_negative_factors():
    view = dataclasses.replace(STILL, jitter=1.0, brightness=3.0)
    image = np.full([1, 2, 2, 3], 51, np.uint8)
    shown = _shown(image, _draws(1, brightness=0.25), view)
    np.testing.assert_allclose(shown, 0.2, atol=1e-6)


def test_noise_is_normal_and_the_images_own():
    view = dataclasses.replace(STILL, noise=0.1)
    images = np.full([40, 32, 32, 3], 0.5, np.float32)
    draws = tf.random.stateless_uniform([40, photometric.NUM_DRAWS], [5, 1])
    noise = (_shown(images, draws, view) - 0.5) / 0.1
    probabilities = np.array([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    expected = [-2.326, -1.2816, -0.5244, 0.0, 0.5244, 1.2816, 2.326]
    quantiles = np.quantile(noise, probabilities)
    np.testing.assert_allclose(quantiles, expected, atol=0.04)
    rows = noise.reshape(40, -1)
    correlation = np.corrcoef(rows) - np.eye(40)
    # Five standard deviations of a correlation of 3,072 pairs.
    assert np.abs(correlation).max() < 5 / np.sqrt(3072)
    lag = np.corrcoef(rows[:, :-1].ravel(), rows[:, 1:].ravel())[0, 1]
    assert abs(lag) < 5 / np.sqrt(rows.size)
    again = (_shown(images[7:8], draws[7:8], view) - 0.5) / 0.1
    np.testing.assert_array_equal(again[0], noise[7])


def test_a_view_does_not_depend_on_its_batch(photograph):
    images = np.stack([photograph(k, 16, 16) for k in range(6)])
    draws = tf.random.stateless_uniform([6, photometric.NUM_DRAWS], [6, 1])
    together = _shown(images, draws, EVERYTHING)
    for k in range(6):
        alone = _shown(images[k : k + 1], draws[k : k + 1], EVERYTHING)
        np.testing.assert_allclose(alone[0], together[k], atol=1e-6)
    assert together.dtype == np.float32
    assert together.min() >= 0 and together.max() <= 1


def test_the_same_everywhere(photograph):
    """Eager, tf.data, tf.function, XLA, mixed precision, float input."""
    images = tf.constant(np.stack([photograph(k, 16, 16) for k in range(4)]))
    draws = tf.random.stateless_uniform([4, photometric.NUM_DRAWS], [7, 1])

    def augment(images, draws):
        return photometric.augment(images, draws, EVERYTHING)

    expected = augment(images, draws)
    ways = {
        "function": tf.function(augment)(images, draws),
        "compiled": tf.function(augment, jit_compile=True)(images, draws),
        "float": augment(tf.cast(images, tf.float32) / 255, draws),
    }
    dataset = tf.data.Dataset.from_tensors((images, draws)).map(augment)
    (ways["tf.data"],) = dataset
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        ways["mixed"] = augment(images, draws)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    for way, shown in ways.items():
        assert shown.dtype == tf.float32, way
        np.testing.assert_allclose(shown, expected, atol=1e-6, err_msg=way)


def test_nothing_happens_to_a_still_view(images):
    shown = _shown(images, _draws(3), STILL)
    np.testing.assert_allclose(shown, images / 255, atol=1e-7)


def test_normalize(images):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    pixels = images / 255
    shown = photometric.normalize(tf.constant(pixels), mean, std)
    assert shown.dtype == tf.float32
    np.testing.assert_allclose(shown, (pixels - mean) / std, atol=1e-5)
