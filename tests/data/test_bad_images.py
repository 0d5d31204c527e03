"""Bad images are replaced, named once, and end the run when they are many."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mec_tf.augment import policy
from mec_tf.data import crops, decode, pipeline, sources
from mec_tf.data.bad_images import BadImages, TooManyBadImages
from mec_tf.formats import loading


def _ledger(size):
    return BadImages(size, name=lambda k: f"file {k}", explain=lambda k: "why")


def test_names_each_image_once(caplog):
    bad = _ledger(10)
    bad.note(np.array([3, 9, 4]), np.array([4, 0, 4]))
    bad.note(np.array([3, 5]), np.array([4, 5]))
    assert bad.reasons == {3: "why", 9: "why"}
    bad.note(np.array([7, 1]), np.array([-1, 1]))
    assert set(bad.reasons) == {3, 9, 7}


def test_known_bad_images_are_replaced_before_they_are_read():
    bad = _ledger(5)
    np.testing.assert_array_equal(bad.usable(np.arange(5)), np.arange(5))
    bad.note(np.array([3]), np.array([0]))
    np.testing.assert_array_equal(bad.usable(np.arange(5)), [0, 1, 2, 0, 0])


def test_ends_at_more_than_a_tenth_of_a_hundred():
    few, many = _ledger(1000), _ledger(1000)
    ask = np.arange(99)
    # 49 of 99: too early to judge.
    few.note(ask, ask | 1)
    few.reraise()
    ask = np.arange(110)
    many.note(ask, np.where(ask < 11, 11, ask))
    many.reraise()
    with pytest.raises(
        TooManyBadImages, match="12 of the first 111 .*file 110"
    ):
        many.note(np.array([110]), np.array([111]))
    with pytest.raises(TooManyBadImages):
        many.reraise()


@pytest.fixture
def evil_folder(image_folder, photograph, encoded):
    """Good images of two classes, and every evil kind among them."""
    pixels = [photograph(k, 40, 50) for k in range(10)]
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {f"a/{k}.jpg": encoded(pixels[k]) for k in range(5)}
    files |= {f"b/{k}.jpg": encoded(pixels[k]) for k in range(5, 10)}
    files |= {
        "a/png.JPEG": encoded(pixels[0], "PNG"),
        "a/cmyk.JPEG": encoded(pixels[1], mode="CMYK"),
        "a/grey.jpg": encoded(pixels[2], mode="L"),
        "a/rgba.png": encoded(pixels[3], "PNG", "RGBA"),
        "a/bmp.bmp": encoded(pixels[4], "BMP"),
        "b/deep.png": encoded(pixels[4][..., 0].astype(np.uint16) * 257, "PNG"),
        "b/moving.gif": encoded(
            pixels[5],
            "GIF",
            mode="P",
            save_all=True,
            append_images=[Image.fromarray(pixels[9])],
        ),
        "b/ein schönes Bild 画像.jpg": encoded(pixels[6], exif=turned),
        "b/cut off.jpg": encoded(pixels[7])[:-300],
        "b/cut off.png": encoded(pixels[8], "PNG")[:-300],
        "b/zero.jpg": b"",
        "b/text.jpg": b"this is not a picture",
    }
    where = image_folder(files)
    os.mkdir(os.path.join(where, "b", "x.jpg"))
    os.symlink("nowhere", os.path.join(where, "b", "broken.jpg"))
    return where


def test_trains_through_an_evil_folder(evil_folder, caplog):
    source = sources.load("folder", data_dir=evil_folder).pretrain
    assert source.size == 20
    views = policy.preset("byol", image_size=16)
    batches = pipeline.training_batches(source, views, batch_size=5, seed=3)
    steps = list(batches.take(12))  # Three epochs.
    for epoch in range(3):
        index = np.concatenate(
            [step["index"] for step in steps[4 * epoch : 4 * epoch + 4]]
        )
        np.testing.assert_array_equal(np.sort(index), np.arange(20))
    names = [os.path.basename(source.file_names[k]) for k in source.bad.reasons]
    assert sorted(names) == ["cut off.jpg", "cut off.png"]
    for name in ("cut off.jpg", "zero.jpg", "text.jpg", "x.jpg", "broken.jpg"):
        lines = [line for line in caplog.messages if f"/{name}: " in line]
        assert len(lines) == 1, name

    # A restart in the midst of it takes the same replacements.
    again = pipeline.training_batches(
        source, views, batch_size=5, seed=3, first_step=7
    )
    for resumed, step in zip(again.take(5), steps[7:], strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, resumed, step)


def test_a_run_trains_through_an_evil_folder(evil_folder, run_main, tmp_path):
    run = run_main(
        "train",
        "--dataset=folder",
        f"--data_dir={evil_folder}",
        "--image_size=16",
        "--backbone=resnet_tiny",
        "--projector_dim=16",
        "--predictor_dim=0",
        "--batch_size=5",
        "--epochs=3",
        "--workdir=run",
        "--export_dir=encoder",
        cwd=tmp_path,
    )
    assert run.code == 0, run.err
    assert (tmp_path / "encoder" / "saved_model.pb").exists()
    refused = ("zero.jpg", "text.jpg", "x.jpg", "broken.jpg")
    for name in ("cut off.jpg", "cut off.png", *refused):
        assert run.err.count(f"/{name}: ") == 1, run.err

    # Handing it on does not need the data any more.
    shutil.rmtree(evil_folder)
    loaded = loading.from_run(tmp_path / "run")
    assert loaded.metadata["dataset"] == "folder"
    assert loaded.encoder(np.zeros([1, 16, 16, 3], np.float32)).shape[0] == 1


def test_the_replacement_is_the_next_image(evil_folder):
    source = sources.load("folder", data_dir=evil_folder).pretrain
    plain = policy.preset("none", image_size=16)
    step = next(
        iter(pipeline.training_batches(source, plain, batch_size=20, seed=0))
    )
    shown = dict(zip(step["index"].numpy(), step["views"][0], strict=True))
    names = [os.path.basename(name) for name in source.file_names]
    first = names.index("cut off.jpg")
    assert names[first + 1] == "cut off.png"
    for lost in (first, first + 1):
        np.testing.assert_array_equal(shown[lost], shown[first + 2])


def test_evaluation_leaves_bad_images_out(evil_folder):
    source = sources.load("folder", data_dir=evil_folder).pretrain
    batches = list(
        pipeline.evaluation_batches(source, image_size=16, batch_size=6)
    )
    index = np.concatenate([batch["index"] for batch in batches])
    expected = np.delete(np.arange(20), list(source.bad.reasons))
    np.testing.assert_array_equal(index, expected)
    labels = np.concatenate([batch["label"] for batch in batches])
    np.testing.assert_array_equal(labels, source.labels[index])
    assert all(batch["image"].shape[1:] == (16, 16, 3) for batch in batches)


def test_a_cut_off_jpeg_is_bad_wherever_the_crops_fall(
    image_folder, photograph, encoded
):
    whole = encoded(photograph(0, 300, 400), quality=95)
    where = image_folder(
        {
            "cut off.jpg": whole[: len(whole) * 97 // 100],
            "good.jpg": whole,
            "good with more behind it.jpg": whole + b"\0\0 and more",
        }
    )
    source = sources.load("folder", data_dir=where).pretrain
    # A part above the damage, as small crops ask for it, decodes.
    decode.decode_jpeg_window(source.read(0), [0, 0, 99, 99])
    views = policy.preset("byol", image_size=16, crop_area=(0.08, 0.1)).views

    @tf.function
    def read(index, draws):
        return pipeline._pixels_and_boxes(source, index, draws, views)[0]

    for seed in range(20):
        draws = tf.random.stateless_uniform([2, crops.NUM_DRAWS], [seed, 0])
        with pytest.raises(tf.errors.InvalidArgumentError):
            read(tf.constant(0), draws)
        # What stands behind a picture does no harm but that all is decoded.
        everything, window = (read(tf.constant(k), draws) for k in (1, 2))
        assert everything.shape == (300, 400, 3)
        assert tf.size(window) < tf.size(everything)


def test_too_many_bad_images_end_the_iteration(
    image_folder, photograph, encoded
):
    good = encoded(photograph(0, 20, 20))
    where = image_folder(
        {f"{k}.jpg": good[: -50 if k % 5 == 0 else None] for k in range(120)}
    )
    source = sources.load("folder", data_dir=where).pretrain
    batches = pipeline.training_batches(
        source, policy.preset("none", image_size=8), batch_size=40, seed=0
    )
    with pytest.raises(tf.errors.OpError, match="could not be read"):
        list(batches.take(9))
    with pytest.raises(TooManyBadImages, match="could not be read"):
        source.bad.reraise()


def test_many_refused_files_end_the_listing(image_folder, photograph, encoded):
    good = encoded(photograph(0, 20, 20))
    files = {f"{k}.jpg": good if k % 5 else b"" for k in range(120)}
    with pytest.raises(TooManyBadImages, match="24 of the 120"):
        sources.load("folder", data_dir=image_folder(files))


def test_a_folder_of_damaged_images_is_an_error(
    image_folder, photograph, encoded
):
    files = {f"{k}.jpg": encoded(photograph(k))[:-99] for k in range(3)}
    with pytest.raises(ValueError, match="None of the images .* cut off"):
        sources.load("folder", data_dir=image_folder(files))
