"""Crops: torchvision's distribution, Pillow's pixels."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mec_tf.augment.policy import View, preset
from mec_tf.data import crops

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


def _boxes(shape, view, count, seed=0):
    """Draws many boxes at once: as many views of one image."""
    draws = tf.random.stateless_uniform([count, crops.NUM_DRAWS], [seed, 0])
    return crops.random_boxes(tf.constant(shape), draws, [view] * count).numpy()


def _mean_difference(image, expected):
    return np.abs(image.astype(int) - np.asarray(expected).astype(int)).mean()


def test_boxes_are_whole_and_inside():
    boxes = _boxes([150, 200], View(224), 4000)
    np.testing.assert_array_equal(boxes, np.round(boxes))
    assert boxes.min() >= 0 and boxes[:, 2:].min() >= 1
    assert (boxes[:, 0] + boxes[:, 2]).max() == 150
    assert (boxes[:, 1] + boxes[:, 3]).max() == 200


def test_area_and_ratio_are_distributed_as_torchvisions():
    """Kolmogorov-Smirnov distance to torchvision's own sampler, in NumPy."""
    count, height, width = 6000, 1500, 2000
    boxes = _boxes([height, width], View(224, crop_area=(0.08, 1.0)), count)
    generator = np.random.default_rng(0)
    reference = []
    while len(reference) < count:
        area = generator.uniform(0.08, 1) * height * width
        ratio = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
        across, down = np.sqrt(area * ratio), np.sqrt(area / ratio)
        if across <= width and down <= height:
            top = generator.uniform(0, height - down)
            left = generator.uniform(0, width - across)
            reference.append([top, left, down, across])
    reference = np.array(reference)
    for measure in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 3] / box[:, 2],
        lambda box: box[:, 0],
        lambda box: box[:, 1],
    ):
        ours, theirs = np.sort(measure(boxes)), np.sort(measure(reference))
        at = np.concatenate([ours, theirs])
        distance = np.abs(
            np.searchsorted(ours, at, "right")
            - np.searchsorted(theirs, at, "right")
        )
        # The 0.1 % critical value for two samples of this size.
        assert distance.max() / count < 1.95 * np.sqrt(2 / count)


def test_ratio_is_log_uniform_where_every_crop_fits():
    boxes = _boxes([4000, 4000], View(224, crop_area=(0.1, 0.3)), 8000)
    log_ratio = np.log(boxes[:, 3] / boxes[:, 2])
    bound = np.log(4 / 3)
    counts, _ = np.histogram(log_ratio, 10, (-bound, bound))
    # Chi-squared with 9 degrees of freedom, 0.1 % level.
    assert ((counts - 800) ** 2 / 800).sum() < 27.9


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ([100, 1000], (0, 433, 100, 133)),
        ([1000, 100], (433, 0, 133, 100)),
    ],
)
def test_falls_back_to_the_centre(shape, expected):
    boxes = _boxes(shape, View(224, crop_area=(0.9, 1.0)), 5)
    np.testing.assert_array_equal(boxes, [expected] * 5)


def test_zooming_out_is_unrounded_and_may_leave_the_image():
    view = View(16, crop_area=(0.7, 1.3), crop_ratio=(1.0, 1.0))
    boxes = _boxes([8, 8], view, 4000)
    area = boxes[:, 2] * boxes[:, 3] / 64
    counts, _ = np.histogram(area, 10, (0.7, 1.3))
    assert counts.sum() == 4000
    assert ((counts - 400) ** 2 / 400).sum() < 27.9
    large = boxes[:, 2] > 8
    assert boxes[large, :2].max() <= 0 and boxes[~large, :2].min() >= 0
    assert (boxes[:, 0] + boxes[:, 2])[large].min() >= 8


@pytest.mark.parametrize("interpolation", _RESAMPLING)
@pytest.mark.parametrize(
    "box", [(0, 0, 150, 200), (31, 17, 97, 111), (40, 50, 20, 24)]
)
def test_cut_equals_pillows_crop_and_resize(photograph, interpolation, box):
    pixels = photograph(1)
    top, left, height, width = box
    expected = Image.fromarray(pixels).resize(
        (96, 96),
        _RESAMPLING[interpolation],
        box=(left, top, left + width, top + height),
    )
    cropped = Image.fromarray(pixels[top : top + height, left : left + width])
    expected = cropped.resize((96, 96), _RESAMPLING[interpolation])
    image = crops.cut(
        pixels, tf.constant(box, tf.float32), 96, interpolation
    ).numpy()
    assert image.dtype == np.uint8
    assert _mean_difference(image, expected) <= 0.5


def test_outside_of_the_image_all_is_black():
    image = tf.fill([8, 8, 3], tf.constant(200, tf.uint8))
    box = tf.constant([-4.0, -2.0, 16.0, 16.0])
    shown = crops.cut(image, box, 16, "bilinear").numpy()
    expected = np.zeros([16, 16, 3], np.uint8)
    expected[4:12, 2:10] = 200
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize("interpolation", _RESAMPLING)
@pytest.mark.parametrize("size", [(150, 200), (203, 150), (60, 80)])
def test_centre_crop_equals_torchvisions(photograph, interpolation, size):
    pixels = photograph(2, *size)
    image = crops.centre_crop(
        pixels, size=112, crop_fraction=0.875, interpolation=interpolation
    ).numpy()
    # torchvision's Resize(128) and CenterCrop(112), in Pillow.
    height, width = size
    short = min(size)
    height, width = int(128 * height / short), int(128 * width / short)
    left, top = round((width - 112) / 2), round((height - 112) / 2)
    expected = (
        Image.fromarray(pixels)
        .resize((width, height), _RESAMPLING[interpolation])
        .crop((left, top, left + 112, top + 112))
    )
    assert _mean_difference(image, expected) <= 0.5


def test_views_are_flipped_by_their_draw_alone(photograph):
    pixels = photograph(3)
    views = (View(32, flip=0.5), View(32, flip=0.5), View(32, flip=0.0))
    draws = np.full([3, crops.NUM_DRAWS], 0.3, np.float32)
    draws[:, -1] = 0.2, 0.7, 0.0
    boxes = tf.constant([[10.0, 20.0, 90.0, 80.0]] * 3)
    flipped, straight, never = crops.cut_views(
        pixels, boxes, tf.constant(draws), views, "bicubic"
    )
    np.testing.assert_array_equal(flipped, straight[:, ::-1])
    np.testing.assert_array_equal(never, straight)


def test_a_window_serves_all_views(photograph):
    pixels = tf.constant(photograph(4))
    views = preset("byol", image_size=64, local_crops=2, local_size=32).views
    draws = tf.random.stateless_uniform([4, crops.NUM_DRAWS], [1, 2])
    boxes = crops.random_boxes(tf.shape(pixels)[:2], draws, views)
    top, left, height, width = crops.enclosing_window(
        boxes, tf.shape(pixels)[:2]
    ).numpy()
    window = pixels[top : top + height, left : left + width]
    shifted = boxes - tf.constant([top, left, 0, 0], tf.float32)
    whole = crops.cut_views(pixels, boxes, draws, views, "bicubic")
    part = crops.cut_views(window, shifted, draws, views, "bicubic")
    assert [view.shape[0] for view in part] == [64, 64, 32, 32]
    for ours, expected in zip(part, whole, strict=True):
        np.testing.assert_array_equal(ours, expected)
