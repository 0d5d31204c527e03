"""The order of samples, and views that depend on nothing but their sample."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mec_tf.augment import photometric, policy
from mec_tf.data import pipeline, sources


@pytest.fixture(scope="module")
def digits():
    return sources.load("digits")


@pytest.fixture(scope="module")
def views():
    return policy.preset("digits", image_size=16)


def _small(source, size):
    """The first images of a source."""
    return sources.Source("few", "a few digits", size, source.read)


def _collect(source, views, steps, **options):
    batches = pipeline.training_batches(source, views, **options)
    return list(batches.take(steps).as_numpy_iterator())


def _by_sample(steps):
    """{(epoch, index): (views, draws)} of steps that are whole epochs."""
    return {
        (epoch, index): (
            tuple(view[row] for view in batch["views"]),
            tuple(draw[row] for draw in batch["draws"]),
        )
        for epoch, batch in steps
        for row, index in enumerate(batch["index"])
    }


def _same(one, other):
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_shapes_and_types(digits, views):
    (batch,) = _collect(digits.pretrain, views, 1, batch_size=7, seed=0)
    assert batch["index"].shape == (7,) and batch["index"].dtype == np.int64
    for view, draws in zip(batch["views"], batch["draws"], strict=True):
        assert view.shape == (7, 16, 16, 3) and view.dtype == np.uint8
        assert draws.shape == (7, photometric.NUM_DRAWS)
        assert draws.dtype == np.float32
        assert draws.min() >= 0 and draws.max() < 1


def test_each_epoch_is_a_fresh_permutation(digits, views):
    few = _small(digits.pretrain, 24)
    steps = _collect(few, views, 9, batch_size=8, seed=5)
    epochs = [
        np.concatenate([batch["index"] for batch in steps[k : k + 3]])
        for k in (0, 3, 6)
    ]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(24))
    assert len({tuple(epoch) for epoch in epochs}) == 3
    (other,) = _collect(few, views, 1, batch_size=8, seed=6)
    assert list(other["index"]) != list(epochs[0][:8])


def test_every_sample_may_come_anywhere(digits, views):
    """A real shuffle: place and index of a sample are uncorrelated."""
    size = 1024
    few = _small(digits.pretrain, size)
    (batch,) = _collect(few, views, 1, batch_size=size, seed=1)
    correlation = np.corrcoef(batch["index"], np.arange(size))[0, 1]
    # Four standard deviations of a random permutation's correlation.
    assert abs(correlation) < 4 / np.sqrt(size - 1)


def test_the_last_incomplete_batch_is_dropped(digits, views):
    few = _small(digits.pretrain, 20)
    steps = _collect(few, views, 4, batch_size=8, seed=0)
    for k in (0, 2):
        index = np.concatenate([steps[k]["index"], steps[k + 1]["index"]])
        assert len(set(index)) == 16
    assert set(steps[0]["index"]) != set(steps[2]["index"])


@pytest.mark.parametrize("first_step", [1, 3, 4, 11])
def test_resuming_takes_the_very_same_steps(digits, views, first_step):
    few = _small(digits.pretrain, 24)
    options = {"batch_size": 8, "seed": 2}
    whole = _collect(few, views, 14, **options)
    resumed = _collect(
        few, views, 14 - first_step, first_step=first_step, **options
    )
    _same(resumed, whole[first_step:])


def test_views_do_not_depend_on_the_batch(digits, views):
    few = _small(digits.pretrain, 24)
    in_eights = _collect(few, views, 6, batch_size=8, seed=9)
    in_sixes = _collect(few, views, 8, batch_size=6, seed=9)
    eights = _by_sample((k // 3, batch) for k, batch in enumerate(in_eights))
    sixes = _by_sample((k // 4, batch) for k, batch in enumerate(in_sixes))
    assert len(eights) == len(sixes) == 48
    for key, sample in eights.items():
        _same(sample, sixes[key])


def test_views_differ_between_views_epochs_samples_and_seeds(digits, views):
    few = _small(digits.pretrain, 8)
    steps = _collect(few, views, 2, batch_size=8, seed=0)
    steps += _collect(few, views, 1, batch_size=8, seed=1)
    draws = np.concatenate([np.concatenate(step["draws"]) for step in steps])
    assert len(np.unique(draws)) > 0.999 * draws.size


def test_flips_crops_and_colours_are_drawn_apart():
    """A ramp tells where a view was cut, and whether it was flipped."""
    count, flip = 2000, 0.3
    ramp = np.tile(np.arange(0, 256, 4, np.uint8)[:, None], [32, 1, 3])
    source = sources.Source("ramp", "a ramp", count, lambda _: ramp)
    views = policy.preset("byol", image_size=8, flip=flip)
    (batch,) = _collect(source, views, 1, batch_size=count, seed=0)
    columns = []
    for view, draws in zip(batch["views"], batch["draws"], strict=True):
        flipped = view[:, 0, 0, 0] > view[:, 0, -1, 0]
        deviation = np.sqrt(flip * (1 - flip) / count)
        assert abs(flipped.mean() - flip) < 4 * deviation
        place = view[..., 0].mean((1, 2))
        columns += [flipped, place, *draws.T]
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    # Five standard deviations of a correlation of independent numbers.
    assert np.abs(correlation).max() < 5 / np.sqrt(count)


def test_workers_share_each_step(digits, views):
    few = _small(digits.pretrain, 24)
    options = {"batch_size": 12, "seed": 4}
    whole = _collect(few, views, 3, **options)
    parts = [
        _collect(few, views, 3, worker=worker, workers=3, **options)
        for worker in range(3)
    ]
    for step, together in enumerate(whole):
        joined = tf.nest.map_structure(
            lambda *rows: np.concatenate(rows), *[part[step] for part in parts]
        )
        _same(joined, together)


def test_the_global_seed_changes_nothing(digits, views):
    few = _small(digits.pretrain, 24)
    tf.random.set_seed(1)
    one = _collect(few, views, 2, batch_size=8, seed=0)
    tf.random.set_seed(2)
    _same(_collect(few, views, 2, batch_size=8, seed=0), one)


def test_encoded_images_of_any_kind_become_the_same_views(
    image_folder, photograph, encoded
):
    """The window of a JPEG, against all of it cut in memory."""
    pixels = [photograph(k, 60 + k, 80) for k in range(6)]
    files = {f"{k}.png": encoded(p, "PNG") for k, p in enumerate(pixels)}
    exact = sources.load("folder", data_dir=image_folder(files, "png"))
    files = {
        f"{k}.jpg": encoded(p, quality=98, subsampling=0)
        for k, p in enumerate(pixels)
    }
    lossy = sources.load("folder", data_dir=image_folder(files, "jpg"))
    multi = policy.preset("byol", image_size=32, local_crops=2, local_size=16)
    options = {"batch_size": 6, "seed": 0}
    (one,) = _collect(exact.pretrain, multi, 1, **options)
    (two,) = _collect(lossy.pretrain, multi, 1, **options)
    assert [view.shape[1] for view in one["views"]] == [32, 32, 16, 16]
    _same(one["draws"], two["draws"])
    for ours, expected in zip(two["views"], one["views"], strict=True):
        assert np.abs(ours.astype(int) - expected).mean() < 2


def test_turned_photographs_are_shown_upright(
    image_folder, photograph, encoded
):
    pixels = photograph(0, 60, 80)
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was held upright: turn clockwise.
    files = {
        "a.jpg": encoded(np.rot90(pixels), quality=98, exif=exif),
        "b.jpg": encoded(pixels, quality=98),
    }
    source = sources.load("folder", data_dir=image_folder(files)).pretrain
    (batch,) = pipeline.evaluation_batches(
        source, image_size=48, batch_size=2, crop_fraction=1.0
    )
    turned, plain = batch["image"].numpy().astype(int)
    assert np.abs(turned - plain).mean() < 2
    still = policy.preset("none", image_size=48)
    (batch,) = _collect(source, still, 1, batch_size=2, seed=0)
    assert np.abs(batch["views"][0].astype(int) - plain).mean() < 4


def test_evaluation_keeps_the_order_and_the_last_batch(digits):
    batches = list(
        pipeline.evaluation_batches(digits.test, image_size=16, batch_size=100)
    )
    assert [len(batch["index"]) for batch in batches] == [100, 100, 100, 59]
    index = np.concatenate([batch["index"] for batch in batches])
    np.testing.assert_array_equal(index, np.arange(359))
    label = np.concatenate([batch["label"] for batch in batches])
    np.testing.assert_array_equal(label, digits.test.labels)
    unlabelled = _small(digits.test, 3)
    (batch,) = pipeline.evaluation_batches(
        unlabelled, image_size=16, batch_size=9
    )
    np.testing.assert_array_equal(batch["label"], [-1] * 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 25}, "batch of 25 images .* of 24 .*a few digits"),
        ({"batch_size": 0}, "between 1 and 24"),
        ({"batch_size": 8, "workers": 3}, "multiple of 3"),
    ],
)
def test_impossible_batches_are_errors(digits, views, options, message):
    few = _small(digits.pretrain, 24)
    with pytest.raises(ValueError, match=message):
        pipeline.training_batches(few, views, seed=0, **options)
