import keras
import numpy as np
import pytest
import tensorflow as tf

from mec_tf.errors import UserError
from mec_tf.formats.pixel_range import guess_unit_range, to_unit_range


def bytes_of_images(n=3):
    return np.random.default_rng(0).integers(0, 256, (n, 4, 5, 3), np.uint8)


def in_unit_range(n=3):
    return bytes_of_images(n) / np.float32(255)


@pytest.mark.parametrize("wrap", [lambda images: images, tf.constant])
def test_the_dtype_says_what_pixels_mean(wrap):
    images = bytes_of_images()
    np.testing.assert_allclose(to_unit_range(wrap(images)), images / 255)
    dark = np.ones([1, 4, 5, 3], np.uint8)
    np.testing.assert_allclose(to_unit_range(wrap(dark)), dark / 255)
    for dtype in (np.float16, np.float32, np.float64, np.int32):
        given = np.round(in_unit_range()).astype(dtype)
        found = to_unit_range(wrap(given))
        assert found.dtype == tf.float32
        np.testing.assert_array_equal(found, given)
    assert to_unit_range(wrap(np.zeros([0, 4, 5, 3]))).shape == (0, 4, 5, 3)


WRONG = {
    "[0, 255]": lambda x: 255 * x,
    "[-1, 1]": lambda x: 2 * x - 1,
    "normalised": lambda x: (x - 0.45) / 0.22,
    "NaN": lambda x: x * np.nan,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_other_ranges_are_refused(wrong):
    images = WRONG[wrong](in_unit_range()).astype(np.float32)
    with pytest.raises(UserError):
        to_unit_range(images)
    with pytest.raises(tf.errors.InvalidArgumentError, match="values from"):
        tf.function(to_unit_range)(images)


def test_what_resampling_does_is_let_through():
    images = np.float32([-0.2, 0.5, 1.2]).reshape(1, 1, 1, 3)
    np.testing.assert_array_equal(to_unit_range(images), images)
    np.testing.assert_array_equal(guess(images), images)


def guess(images):
    inputs = keras.Input((None, None, 3))
    return np.asarray(keras.Model(inputs, guess_unit_range(inputs))(images))


def test_without_a_dtype_values_decide():
    images, expected = bytes_of_images(), in_unit_range()
    np.testing.assert_array_equal(guess(images), expected)
    np.testing.assert_array_equal(guess(np.float32(images)), expected)
    np.testing.assert_array_equal(guess(expected), expected)
    # Fractions in [0, 255], as resizing leaves them.
    fractions = np.float32(0.5 + 0.9 * images)
    np.testing.assert_allclose(guess(fractions), fractions / 255, rtol=1e-6)
    images[1] = 1  # nearly black, beside others
    np.testing.assert_allclose(guess(images), images / 255, rtol=1e-6)


@pytest.mark.parametrize("wrong", ["[-1, 1]", "normalised", "NaN"])
def test_what_cannot_be_guessed_is_nan(wrong):
    assert np.isnan(guess(WRONG[wrong](in_unit_range()))).all()
    assert np.isnan(guess(300.0 * in_unit_range())).all()


def test_of_a_mixed_batch_what_is_ambiguous_is_nan():
    images = np.float32(bytes_of_images())
    images[0] /= 255
    found = guess(images)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:], images[1:] / 255)
